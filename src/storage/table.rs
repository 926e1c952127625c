//! The tables, one line each (key → value), by the version of the schema that brought them.

/// One step of the database's schema: what it adds. Migrations are additive, and their list is append-only, so that a
/// database from any released version opens for ever.
#[derive(Debug)]
pub struct Migration {
    /// The schema version that this step leads to.
    pub version: u32,
    /// The tables that it adds.
    pub adds: &'static [Table],
}

macro_rules! tables {
    ($($version:literal: { $($(#[doc = $doc:literal])* $variant:ident = $name:literal,)* })*) => {
        /// A table of the store. Keys are written as `part/part`; rooms and events are internal numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Table {
            $($($(#[doc = $doc])* $variant,)*)*
        }

        impl Table {
            /// Every table there is now.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            /// The name that the table has in the database, for ever.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)*)*
                }
            }
        }

        /// Every step since the first release.
        pub const MIGRATIONS: &[Migration] = &[$(Migration { version: $version, adds: &[$(Table::$variant,)*] },)*];
    };
}

// A version is closed once a database was made with it: what is new comes behind it, in a version of its own.
tables! {
    1: {
        /// name → a value of the server as a whole: identity, incarnation, epoch; erased/user → where in the log the user was erased
        Meta = "meta",
        /// position → what happened there
        Log = "log",
        /// room id → room number and version
        Rooms = "rooms",
        /// room → forward extremities, current state, counts
        Heads = "heads",
        /// event → its header and the event itself
        Events = "events",
        /// event id/room → event
        EventIds = "event_ids",
        /// hash of a state tree's node → the node
        StateNodes = "state_nodes",
        /// room/depth/event → nothing: the order that clients page through
        Timeline = "timeline",
        /// room/depth/event → nothing, for events of the timeline before which others are still missing
        Gaps = "gaps",
        /// room/event id → nothing, for events that are missing though accepted ones build on them
        Awaited = "awaited",
        /// room id/server/event id → an event that the server has sent, and that waits for what is before it
        Waiting = "waiting",
        /// server → its keys as it published them
        ServerKeys = "server_keys",
        /// server/0/transaction id → what it was answered, and its serial number; server/1/serial number → transaction id
        ReceivedTransactions = "received_transactions",
        /// room/position → event, and the current state behind it: the order of arrival
        RoomLog = "room_log",
        /// room/membership/user → the membership event
        Members = "members",
        /// room/server → when another server had users in the room
        RoomServers = "room_servers",
        /// server → how far it has come with what is sent to it
        Destinations = "destinations",
        /// server/transaction id → nothing, for transactions of that server that came through a relay and are to be acknowledged
        Acknowledgements = "acknowledgements",
        /// user/room → membership of a local user, and since when
        UserRooms = "user_rooms",
        /// room/user → the stripped state that a local user was shown of a room that this server is not in
        ToldState = "told_state",
        /// room/parent event id/group/depth/event → how the event relates to its parent
        Relations = "relations",
        /// room/depth/event → the root of the thread that the event is in
        Threads = "threads",
        /// room/target event id → the redactions that came before their target
        PendingRedactions = "pending_redactions",
        /// user/room id → a join that waits for somebody who is in the room, and whom to ask
        PendingJoins = "pending_joins",
        /// room id → the server through which this one has last knocked there
        Helpers = "helpers",
        /// alias → room id and who made it
        Aliases = "aliases",
        /// room/alias → nothing
        RoomAliases = "room_aliases",
        /// room id → nothing, for rooms in the published directory
        PublicRooms = "public_rooms",
        /// user → the local account
        Accounts = "accounts",
        /// user → the profile's fields
        Profiles = "profiles",
        /// user/device → the device
        Devices = "devices",
        /// user/device → the device's identity keys
        DeviceKeys = "device_keys",
        /// user/device/0/algorithm/serial → a one-time key; user/device/1/serial → the name of one that was claimed
        OneTimeKeys = "one_time_keys",
        /// user/device/algorithm → the fallback key
        FallbackKeys = "fallback_keys",
        /// user/usage → the cross-signing key
        CrossSigningKeys = "cross_signing_keys",
        /// signer/user → the signature of the user's master key that only the signer sees
        KeySignatures = "key_signatures",
        /// user → how far the device list has come, and where clients were last told of it
        DeviceLists = "device_lists",
        /// position → whose devices or cross-signing keys changed
        DeviceListLog = "device_list_log",
        /// user of another server → what is known of their devices
        RemoteDevices = "remote_devices",
        /// 0 or, of another server, 1/user → the presence that others are told
        Presence = "presence",
        /// position → whose presence changed
        PresenceLog = "presence_log",
        /// user/version → a backup of keys
        KeyBackups = "key_backups",
        /// user/version/room id/session → a key in a backup
        BackupKeys = "backup_keys",
        /// user/device/position → a message to a local device
        ToDevice = "to_device",
        /// server/position → messages to another server's devices, as they are sent
        ToDeviceOut = "to_device_out",
        /// server/0/message id → when messages came from there; server/1/time/message id → nothing
        ToDeviceReceived = "to_device_received",
        /// hash of a token → whose it is
        Tokens = "tokens",
        /// user/device/endpoint/transaction id → the first answer
        Transactions = "transactions",
        /// user/room id or nothing/type → content and position
        AccountData = "account_data",
        /// user/position → room id and type of the account data that changed
        AccountDataLog = "account_data_log",
        /// room/user/receipt type/thread → the receipt
        Receipts = "receipts",
        /// room/position → user, receipt type and thread of the receipt that changed
        ReceiptLog = "receipt_log",
        /// user/filter id → the filter
        Filters = "filters",
        /// user/app id/pushkey → the pusher
        Pushers = "pushers",
        /// time/random number → what somebody reported to the owner of this server
        Reports = "reports",
        /// media id → what was uploaded; media id/size → its thumbnail; 0/time/media id → who has until then to upload it
        Media = "media",
        /// server → its signed node record
        NodeRecords = "node_records",
    }
}

#[cfg(test)]
mod tests {
    use crate::ordered::OrderedSet;

    use super::*;

    #[test]
    fn names_differ() {
        let names: OrderedSet<_> = Table::ALL.iter().map(|table| table.name()).collect();
        assert_eq!(names.len(), Table::ALL.len());
    }

    #[test]
    fn versions_follow_each_other() {
        assert!(MIGRATIONS.is_sorted_by(|one, next| one.version < next.version));
    }

    /// A database of the first version has these and no others: one more, and it would be looked for in vain.
    #[test]
    fn the_first_version_is_closed() {
        let first: Vec<_> = MIGRATIONS[0].adds.iter().map(|table| table.name()).collect();
        assert_eq!(first.join(" "), FIRST_VERSION.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    const FIRST_VERSION: &str = "
        meta log rooms heads events event_ids state_nodes timeline gaps awaited waiting server_keys received_transactions
        room_log members room_servers destinations acknowledgements user_rooms told_state relations threads pending_redactions
        pending_joins helpers aliases room_aliases public_rooms accounts profiles devices device_keys one_time_keys
        fallback_keys cross_signing_keys key_signatures device_lists device_list_log remote_devices presence presence_log
        key_backups backup_keys to_device to_device_out to_device_received tokens transactions account_data account_data_log
        receipts receipt_log filters pushers reports media node_records";
}
