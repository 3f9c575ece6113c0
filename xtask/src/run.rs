//! Running commands: their output passes through, line by line, and is counted on the way.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

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

/// Runs `commands` in their order, up to `at_a_time` of them side by side, and begins none after one that
/// failed.
pub(crate) fn side_by_side(commands: Vec<Command>, at_a_time: usize) -> (bool, Counts) {
    let waiting = Mutex::new(VecDeque::from(commands));
    let worker = || {
        let mut counts = Counts::default();
        // The lock is held while a command is taken, not while it runs.
        let next = || waiting.lock().ok()?.pop_front();
        while let Some(command) = next() {
            let (succeeded, found) = run(command);
            counts += found;
            if !succeeded {
                waiting.lock().into_iter().for_each(|mut waiting| waiting.clear());
                return (false, counts);
            }
        }
        (true, counts)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().fold((true, Counts::default()), |(all, mut sum), worker| {
            let (succeeded, counts) = worker.join().unwrap_or_default();
            sum += counts;
            (all && succeeded, sum)
        })
    })
}

/// Runs `command` without its output, for at most `limit`: has it succeeded by then?
pub(crate) fn succeeds_within(limit: Duration, mut command: Command) -> bool {
    println!("$ {}", shown(&command));
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else { return false };
    let began = Instant::now();
    while began.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => break,
        }
    }
    // It may have ended on its own in this very moment.
    let _ = child.kill();
    let _ = child.wait();
    false
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

    fn failing() -> Command {
        let mut command = Command::new(crate::steps::CARGO);
        command.arg("no-such-command");
        command
    }

    fn succeeding() -> Command {
        let mut command = Command::new(crate::steps::CARGO);
        command.arg("--version");
        command
    }

    #[test]
    fn one_failure_of_many_is_a_failure() {
        assert!(side_by_side(Vec::new(), 2).0);
        assert!(side_by_side(vec![succeeding(), succeeding(), succeeding()], 2).0);
        assert!(!side_by_side(vec![succeeding(), succeeding(), failing()], 2).0);
        assert!(!side_by_side(vec![failing(), succeeding()], 1).0);
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let mut forever = Command::new("sleep");
        forever.arg("600");
        assert!(!succeeds_within(Duration::from_millis(300), forever));
        assert!(succeeds_within(Duration::from_secs(60), succeeding()));
        assert!(!succeeds_within(Duration::from_secs(60), failing()));
    }
}
