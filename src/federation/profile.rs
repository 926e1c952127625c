//! Asking another server for the profile of one of its users.

use ruma::UserId;

use super::{
    read,
    target::{path, with_query},
};
use crate::{error::Error, profiles::Profile, server::Server};

/// A user's profile, or one field of it.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile>
pub(crate) async fn profile(server: &Server, user: &UserId, field: Option<&str>) -> Result<Profile, Error> {
    let query = [("user_id", user.as_str())].into_iter().chain(field.map(|field| ("field", field)));
    let target = with_query(&path("v1/query/profile", &[]), query);
    read(&server.federation_client.get(user.server_name(), &target).await?)
}
