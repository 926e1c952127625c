//! A person: an account, a client with a store on the disk, and the client's sync loop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::encryption::{BackupDownloadStrategy, EncryptionSettings};
use matrix_sdk::ruma::api::client::account::register::v3::Request as Registration;
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy};
use matrix_sdk::ruma::{RoomId, UserId};
use matrix_sdk::{Client, HttpError, LoopCtrl, Room};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::heard::{Heard, Told};

const PASSWORD: &str = "correct horse battery staple";

/// How long a poll waits for something new.
const POLL: Duration = Duration::from_secs(30);

/// Where a client finds its server and keeps what it knows.
#[derive(Clone)]
pub(crate) struct Home {
    url: String,
    store: PathBuf,
}

impl Home {
    pub(crate) fn new(url: &str, store: &Path) -> Self {
        Self { url: url.to_owned(), store: store.to_owned() }
    }

    /// A client over what the store holds.
    async fn open(&self) -> Result<Client> {
        let settings = EncryptionSettings {
            auto_enable_cross_signing: true,
            auto_enable_backups: false,
            backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
        };
        let builder = Client::builder().homeserver_url(&self.url).sqlite_store(&self.store, None).with_encryption_settings(settings);
        Ok(builder.build().await?)
    }
}

/// Somebody whose client was closed.
pub(crate) struct Away {
    home: Home,
    session: MatrixSession,
}

impl Away {
    /// Opens the client again, which goes on where it stopped.
    pub(crate) async fn return_home(self) -> Result<Person> {
        let client = self.home.open().await?;
        client.restore_session(self.session).await?;
        Person::begin(client, self.home).await
    }
}

/// Somebody with one client, which syncs until it is closed.
pub(crate) struct Person {
    pub(crate) client: Client,
    home: Home,
    heard: Heard,
    syncs: watch::Receiver<u64>,
    sync: JoinHandle<()>,
}

impl Person {
    /// Makes an account, and logs in.
    pub(crate) async fn register(home: Home, username: &str) -> Result<Self> {
        let mut request = Registration::new();
        request.username = Some(username.to_owned());
        request.password = Some(PASSWORD.to_owned());
        request.inhibit_login = true;
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        let client = Client::builder().homeserver_url(&home.url).build().await?;
        client.matrix_auth().register(request).await.with_context(|| format!("registering {username}"))?;
        Self::log_in(home, username).await
    }

    /// Logs in on a new device.
    pub(crate) async fn log_in(home: Home, username: &str) -> Result<Self> {
        let client = home.open().await?;
        client.matrix_auth().login_username(username, PASSWORD).initial_device_display_name("matrix-sdk").send().await?;
        Self::begin(client, home).await
    }

    async fn begin(client: Client, home: Home) -> Result<Self> {
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        let heard = Heard::by(&client);
        let (count, mut syncs) = watch::channel(0);
        let sync = tokio::spawn(sync_for_ever(client.clone(), heard.clone(), count));
        next(&mut syncs).await?;
        Ok(Self { client, home, heard, syncs, sync })
    }

    /// Ends the client. What it knows is in its store.
    pub(crate) async fn close(self) -> Result<Away> {
        let session = self.client.matrix_auth().session().context("the client is not logged in")?;
        let home = self.home.clone();
        self.stop().await;
        Ok(Away { home, session })
    }

    /// Ends the client and its device.
    pub(crate) async fn log_out(self) -> Result<()> {
        let auth = self.client.matrix_auth();
        self.stop().await;
        auth.logout().await?;
        Ok(())
    }

    async fn stop(self) {
        self.sync.abort();
        // Its outcome is that it was aborted.
        let _ = self.sync.await;
    }

    pub(crate) fn id(&self) -> Result<&UserId> {
        self.client.user_id().context("the client is not logged in")
    }

    pub(crate) fn room(&self, id: &RoomId) -> Result<Room> {
        self.client.get_room(id).with_context(|| format!("{id} is not known"))
    }

    /// Waits until something is so, looking again after each sync.
    pub(crate) async fn eventually<T>(&self, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let mut syncs = self.syncs.clone();
        loop {
            syncs.mark_unchanged();
            if let Some(found) = look().await? {
                return Ok(found);
            }
            next(&mut syncs).await?;
        }
    }

    /// Waits until an event was told that fits.
    pub(crate) async fn hears<T>(&self, fits: impl Fn(&Told) -> Option<T>) -> Result<T> {
        self.eventually(async || Ok(self.heard.find(&fits))).await
    }
}

/// Syncs, and counts each. A server that is away is asked again, with the SDK's own pause; what ends this is a refusal.
async fn sync_for_ever(client: Client, heard: Heard, count: watch::Sender<u64>) {
    let settings = SyncSettings::new().timeout(POLL).filter(FilterDefinition::with_lazy_loading().into());
    let ended = client
        .sync_with_result_callback(settings, async |synced| {
            if let Err(error) = synced {
                return if is_of_the_network(&error) { Ok(LoopCtrl::Continue) } else { Err(error) };
            }
            heard.open_what_is_sealed().await?;
            count.send_modify(|count| *count += 1);
            Ok(LoopCtrl::Continue)
        })
        .await;
    if let Err(error) = ended {
        eprintln!("a client syncs no more: {error}");
    }
}

/// Proxies answer 502 for what is behind them and away.
fn is_of_the_network(error: &matrix_sdk::Error) -> bool {
    let matrix_sdk::Error::Http(error) = error else { return false };
    matches!(**error, HttpError::Reqwest(_)) || matches!(error.as_client_api_error(), Some(answer) if answer.status_code.is_server_error())
}

async fn next(syncs: &mut watch::Receiver<u64>) -> Result<()> {
    syncs.changed().await.map_err(|_| anyhow!("the client syncs no more"))
}
