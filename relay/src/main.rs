//! The relay's command: reads the settings, starts the relay, and ends it on SIGTERM or SIGINT.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::Parser;
use inglenook_relay::{
    clock::Clock,
    config::{Config, Flags, LogFormat},
    server::Server,
    tls::Certificate,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Flags::parse().config() {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    if let Err(error) = log(&config) {
        return failed(&error);
    }
    make_room_for(config.max_tunnels);
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("inglenook-relay: {error}");
    ExitCode::FAILURE
}

fn log(config: &Config) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&config.log)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Each tunnel is an open file, of which a shell allows few unless it is asked.
fn make_room_for(tunnels: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if usize::try_from(files).is_ok_and(|files| files <= tunnels) => {
            tracing::warn!(files, tunnels, "the system allows fewer open files than there may be tunnels");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "it cannot be told how many files may be open"),
    }
}

async fn serve(config: Config) -> io::Result<()> {
    let server = Server::bind(config, Clock::system()).await?;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let scheme = if server.certificate().is_some() { "https" } else { "http" };
    tokio::spawn(reload(server.certificate().cloned(), signal(SignalKind::hangup())?));
    println!("inglenook-relay {} listens on {scheme}://{}", server.name(), server.address()?);
    server
        .run(async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        })
        .await
}

/// Reads the certificate, if there is one, again whenever the signal comes.
async fn reload(certificate: Option<Certificate>, mut signal: Signal) {
    while signal.recv().await.is_some() {
        match certificate.as_ref().map(Certificate::reload) {
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate cannot be read; the last one is kept"),
            None => {}
        }
    }
}
