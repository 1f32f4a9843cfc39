//! The machine's profile: measured once, kept in the user's cache directory, one file for each processor and number
//! of threads.

use std::io::Write;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use indicatif::ProgressBar;
use ssmc::diag::{Code, Diagnostic};
use ssmc::profile::{self, Profile};

use crate::cli::replace::Replacement;
use crate::cli::results::{number, table};
use crate::cli::{Outcome, Verdict, report};

/// The most that is read of a profile's file.
const MOST_BYTES: u64 = 1 << 20;

/// Measures the machine anew, keeps the profile, and prints it.
pub fn show(json: bool) -> Outcome {
    let bar = ProgressBar::new(100);
    let profile = renewed(&bar);
    bar.finish_and_clear();
    let text = if json { format!("{:#}\n", profile.to_json()) } else { text(&profile) };
    report::out(&text).map_err(|error| vec![error])?;
    Ok(Verdict::Done)
}

/// Names a file with the profile to use, in the form that `bench --profile --json` prints.
const FIXED: &str = "SSMC_PROFILE";

/// The profile that [`FIXED`] names, or that was kept, or a new one, which is then kept.
///
/// # Errors
/// S401, S402 where [`FIXED`] names no profile.
pub fn profile(bar: &ProgressBar) -> Result<Profile, Vec<Diagnostic>> {
    if let Some(known) = known()? {
        return Ok(known);
    }
    bar.set_message("measuring the machine");
    bar.println("measuring the machine, once: this takes a few seconds");
    Ok(renewed(bar))
}

/// The profile that [`FIXED`] names, or that was kept.
///
/// # Errors
/// S401, S402 where [`FIXED`] names no profile.
pub fn known() -> Result<Option<Profile>, Vec<Diagnostic>> {
    if let Some(path) = std::env::var_os(FIXED).filter(|path| !path.is_empty()) {
        let path = Path::new(&path);
        let place = format!("{FIXED}={}", path.display());
        let text = text_of(path)
            .map_err(|error| vec![Diagnostic::error_at(Code::S401, place.clone(), format!("cannot read: {error}"))])?;
        let profile = serde_json::from_str(&text).map_err(|error| error.to_string());
        let profile = profile.and_then(|value| Profile::from_json(&value).map_err(|field| format!("`{field}`")));
        let wrong = |why| vec![Diagnostic::error_at(Code::S402, place, format!("this is no profile: {why}"))];
        return profile.map(Some).map_err(wrong);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = profile::model();
    let kept = path().and_then(|path| read(&path)).filter(|kept| kept.model == model && kept.threads == threads);
    Ok(kept)
}

/// Measures the machine. A profile that cannot be kept is measured again next time, and a note says so.
fn renewed(bar: &ProgressBar) -> Profile {
    bar.tick();
    let profile = profile::measure(&|_| bar.tick());
    let kept = match path() {
        Some(path) => keep(&path, &profile),
        None => Err(Diagnostic::error_at(Code::S401, "the cache directory", "there is no home directory")),
    };
    if let Err(error) = kept {
        report::print(&[error.help("the machine's profile is measured again next time").into_note()], "", "");
    }
    profile
}

/// Keeps a profile whose calibration was outdone, so that later runs know how fast the machine can be.
///
/// That it cannot be kept was said when it was measured.
pub fn remember(profile: &Profile) {
    if let Some(path) = path() {
        keep(&path, profile).ok();
    }
}

/// Where the profile of this machine is kept.
fn path() -> Option<PathBuf> {
    let directory = etcetera::choose_base_strategy().ok()?.cache_dir();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Some(directory.join("ssmc").join(file_name(&profile::model(), threads)))
}

/// Letters, digits and dashes, whatever a processor calls itself.
fn file_name(model: &str, threads: usize) -> String {
    let words: Vec<&str> = model.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name: String = words.join("-").chars().take(100).collect();
    format!("profile-{name}-{threads}.json").to_lowercase()
}

fn read(path: &Path) -> Option<Profile> {
    Profile::from_json(&serde_json::from_str(&text_of(path).ok()?).ok()?).ok()
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(std::fs::File::open(path)?, MOST_BYTES), &mut text)?;
    Ok(text)
}

fn keep(path: &Path, profile: &Profile) -> Result<(), Diagnostic> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            Diagnostic::error_at(Code::S401, directory.display().to_string(), format!("cannot make it: {error}"))
        })?;
    }
    Replacement::create(path)?.finish(|file| writeln!(file, "{:#}", profile.to_json()))
}

fn text(profile: &Profile) -> String {
    let loops = if profile.portable { "portable loops" } else { "loops of the processor" };
    let mut head = vec![
        vec!["processor".to_owned(), profile.model.clone()],
        vec!["threads".to_owned(), profile.threads.to_string()],
        vec!["measured".to_owned(), format!("in {:.1} s, by {loops}", profile.seconds)],
        vec!["multiply-add".to_owned(), format!("{} cycles from operand to result", number(profile.latency))],
    ];
    if profile.speeds > 1.1 {
        let note = format!("the slowest moment took {:.2} times as long as the fastest", profile.speeds);
        head.push(vec!["speed".to_owned(), note]);
    }
    if let Some(path) = path().filter(|path| path.exists()) {
        head.push(vec!["kept in".to_owned(), path.display().to_string()]);
    }
    let mut text = table(&[], head);
    text.push('\n');
    let widths = profile.widths.iter().map(|width| {
        vec![
            format!("{} bits", width.bits),
            format!("{:.2}", width.ghz),
            format!("{:.2}", width.multiply_adds),
            format!("{:.3}", width.divisions[0]),
            format!("{:.3}", width.divisions[1]),
        ]
    });
    text.push_str(&table(
        &["vectors", "GHz", "multiply-adds/cycle", "f32 divisions/cycle", "f64 divisions/cycle"],
        widths,
    ));
    text.push('\n');
    let levels = profile.levels.iter().map(|level| {
        let rates = [level.one.load, level.one.store, level.one.copy, level.all.load, level.all.store, level.all.copy];
        let mut row = vec![level.name.clone(), size(level.bytes)];
        row.extend(rates.iter().map(|rate| format!("{rate:.1}")));
        row
    });
    let all = |what: &str| format!("{what}, {} threads", profile.threads);
    let (load, store, copy) = (all("load"), all("store"), all("copy"));
    text.push_str(&table(&["GB/s", "size", "load, 1 thread", "store", "copy", &load, &store, &copy], levels));
    text
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(file_name("Intel(R) Xeon(R), family 6", 2), "profile-intel-r-xeon-r-family-6-2.json");
        assert_eq!(file_name("../../etc\0", 1), "profile-etc-1.json");
        assert!(file_name(&"x".repeat(1000), 1).len() < 130);
    }
}
