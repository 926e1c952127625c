//! Runs other programs, and turns what goes wrong with them into sentences.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command with this terminal's input and output, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command whose standard output is a value for us or of no interest: what it says goes to standard error,
/// so that `setup --env` can print nothing but assignments.
pub(crate) fn run_aside(command: &mut Command) -> Result<()> {
    run(command.stdout(std::io::stderr()))
}

/// A command's standard output without the white space around it.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::piped()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program of that name on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first of several names or absolute paths that this machine has.
pub(crate) fn find_any(programs: &[&str]) -> Option<PathBuf> {
    programs.iter().find_map(|program| find(program))
}

/// A command that changes the system: through `sudo` for those who are not root.
pub(crate) fn as_root(program: &str) -> Result<Command> {
    if output(Command::new("id").arg("-u"))? == "0" {
        return Ok(Command::new(program));
    }
    if find("sudo").is_none() {
        bail!("`{program}` needs root and `sudo` is missing: run `cargo xtask setup --browsers` as root once");
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Waits for the end of its input; then asks the group to end, and insists when the program has
/// ended or has had five seconds for it.
const LEASH: &str = r#"
"$@" &
program=$!
cat >/dev/null
trap '' TERM
kill 0
(sleep 5; kill -9 0) &
wait $program
kill -9 0
"#;

/// A program together with all that it starts, which ends when this value is dropped or this process dies.
pub(crate) struct Leashed {
    child: Child,
}

impl Leashed {
    /// Starts a program whose standard output can be read through [`Leashed::stdout`].
    ///
    /// WebDriver programs leave browsers and message buses behind when they are killed, so the
    /// program gets a process group of its own, and a shell in it that ends the group as soon as
    /// the pipe from us closes.
    pub(crate) fn start(command: &Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut shell = Command::new("sh");
        shell.args(["-c", LEASH, "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let child = shell.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
        Ok(Self { child })
    }

    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The shell ends by its own signal; there is nobody left to tell if it cannot be waited for.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::{Leashed, output, run};

    #[test]
    fn a_failing_command_is_named_in_the_error() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
        let error = run(&mut Command::new("/no/such/program")).unwrap_err().to_string();
        assert!(error.contains("cannot start `program`"), "{error}");
    }

    #[test]
    fn output_carries_what_the_command_complained_about() {
        assert_eq!(output(Command::new("echo").arg("a b")).unwrap(), "a b");
        let error = output(Command::new("sh").args(["-c", "echo no >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().ends_with(": no"), "{error}");
    }

    #[test]
    fn a_leashed_program_dies_with_its_descendants() {
        let mut command = Command::new("sh");
        command.args(["-c", "(trap '' TERM; sleep 1000) & echo $!; wait"]);
        let mut leashed = Leashed::start(&command).unwrap();
        let mut stdout = leashed.stdout().unwrap();
        let mut first = [0; 16];
        let read = stdout.read(&mut first).unwrap();
        let pid = String::from_utf8_lossy(&first[..read]).trim().to_owned();
        assert!(is_running(&pid));
        drop(leashed);
        assert!(!is_running(&pid), "process {pid} outlived its leash");
    }

    /// An ended process may stay in the table until its new parent collects it.
    fn is_running(pid: &str) -> bool {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let state = output(Command::new("ps").args(["-o", "stat=", "-p", pid])).unwrap_or_default();
        !matches!(state.chars().next(), None | Some('Z'))
    }
}
