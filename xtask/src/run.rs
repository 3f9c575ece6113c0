//! Running one command: its output passes through, line by line, and is counted on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::count::Counts;

/// Runs `command` with its output shown, and gives whether it succeeded and what the test runner in it
/// counted.
pub(crate) fn run(mut command: Command) -> (bool, Counts) {
    println!("$ {}", shown(&command));
    let mut child = match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("cannot start {}: {error}", command.get_program().display());
            return (false, Counts::default());
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let errors = thread::spawn(move || {
        stderr.map_or_else(Counts::default, |pipe| pass_through(pipe, std::io::stderr()))
    });
    let mut counts = stdout.map_or_else(Counts::default, |pipe| pass_through(pipe, std::io::stdout()));
    counts += errors.join().unwrap_or_default();
    (child.wait().is_ok_and(|status| status.success()), counts)
}

/// Copies lines from `from` to `to` until the end and counts in them; output need not be UTF-8.
fn pass_through(from: impl Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        counts += Counts::in_line(&String::from_utf8_lossy(&line));
        // A closed terminal must not stop the checks.
        let _ = to.write_all(&line);
        line.clear();
    }
    counts
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}=\"{}\"", name.display(), value?.display())));
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args()).map(|word| word.display().to_string());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_copied_whole_and_counted() {
        let text = b"running 2 tests\n\xff\xfe\ntest result: ok. 2 passed; 0 failed; 0 ignored\nlast line without an end";
        let mut copy = Vec::new();
        assert_eq!(pass_through(&text[..], &mut copy), Counts { passed: 2, failed: 0 });
        assert_eq!(copy, text);
    }

    #[test]
    fn a_missing_program_is_a_failure() {
        assert_eq!(run(Command::new("halfnet-no-such-program")), (false, Counts::default()));
    }
}
