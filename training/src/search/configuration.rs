//! A search's configuration as a file: the network and every option, as TOML.

use std::path::Path;

use toml::{Table, Value};

use super::options::SearchOptions;
use crate::error::TrainError;

/// What a configuration file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// The network's name.
    pub model: String,
    /// The data set's; the network's own where there is none.
    pub data_set: Option<String>,
    /// The options.
    pub options: SearchOptions,
}

fn usage(error: impl std::fmt::Display) -> TrainError {
    TrainError::Usage(error.to_string())
}

/// The file's text, every default written out.
///
/// # Errors
/// A number is too large for TOML.
pub fn text(configuration: &Configuration) -> Result<String, TrainError> {
    let options = toml::to_string(&configuration.options).map_err(usage)?;
    let word = |name: &str, word: &str| format!("{name} = {}\n", Value::String(word.to_owned()));
    let data_set = configuration.data_set.as_ref().map_or(String::new(), |set| word("data_set", set));
    Ok(word("model", &configuration.model) + &data_set + &options)
}

/// Reads a file; what it leaves out is an error, since a default that changes later would change the run.
///
/// # Errors
/// It cannot be read, or an option is missing, unknown or of another kind.
pub fn read(path: &Path) -> Result<Configuration, TrainError> {
    let text = std::fs::read_to_string(path).map_err(|e| TrainError::read(path, e))?;
    parse(&text).map_err(|reason| TrainError::malformed(path, reason))
}

fn parse(text: &str) -> Result<Configuration, String> {
    let mut table: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let Some(Value::String(model)) = table.remove("model") else {
        return Err("`model = \"NAME\"` is missing".to_owned());
    };
    let data_set = match table.remove("data_set") {
        None => None,
        Some(Value::String(set)) => Some(set),
        Some(other) => return Err(format!("`data_set = {other}`: must be a name")),
    };
    let options = table.try_into().map_err(|e: toml::de::Error| e.to_string())?;
    Ok(Configuration { model, data_set, options })
}

/// A configuration with one option changed: `range.weight=100`.
///
/// # Errors
/// There is no such option, or the value is of another kind.
pub fn assign(configuration: &Configuration, assignment: &str) -> Result<Configuration, TrainError> {
    let wrong = |reason: &str| TrainError::Usage(format!("--set {assignment}: {reason}"));
    let (place, value) = assignment.split_once('=').ok_or_else(|| wrong("must be OPTION=VALUE"))?;
    // A word that is no TOML value is a string.
    let value = format!("value = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("value"));
    let value =
        value.unwrap_or_else(|| Value::String(assignment.split_once('=').map_or("", |a| a.1).to_owned()));
    let mut table = Table::try_from(&configuration.options).map_err(usage)?;
    let (parents, name) = place.rsplit_once('.').map_or(("", place), |(parents, name)| (parents, name));
    let mut inner = &mut table;
    for parent in parents.split('.').filter(|p| !p.is_empty()) {
        let next = inner.get_mut(parent).and_then(Value::as_table_mut);
        inner = next.ok_or_else(|| wrong("there is no such option; --print-config lists them all"))?;
    }
    let old =
        inner.get_mut(name).ok_or_else(|| wrong("there is no such option; --print-config lists them all"))?;
    *old = match (&*old, value) {
        (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    let options = table.try_into().map_err(|e: toml::de::Error| wrong(&e.to_string()))?;
    Ok(Configuration { options, ..configuration.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::options::{MethodOptions, Pressure};
    use crate::search::presets;

    #[test]
    fn a_file_gives_back_every_named_set_of_options() {
        let sets = presets::METHODS.iter().filter_map(|n| presets::method(n));
        for options in sets.chain(presets::PRESETS.iter().filter_map(|n| presets::preset(n))) {
            let configuration = Configuration { model: "resnet20".to_owned(), data_set: None, options };
            let text = text(&configuration).unwrap();
            let read = parse(&text).unwrap();
            assert_eq!(read, configuration, "{text}");
            // Checkpoints keep options as JSON.
            let json = serde_json::to_string(&configuration.options).unwrap();
            assert_eq!(serde_json::from_str::<SearchOptions>(&json).unwrap(), configuration.options);
        }
        assert_eq!(presets::METHODS.iter().filter(|n| presets::method(n).is_none()).count(), 0);
    }

    #[test]
    fn options_are_assigned_by_their_place() {
        let configuration =
            Configuration { model: "resnet20".to_owned(), data_set: None, options: SearchOptions::default() };
        let found = assign(&configuration, "range.weight=7").unwrap();
        assert_eq!(found.options.range.weight, 7.0);
        let found = assign(&found, "method.pressure={ constant = 3.5 }").unwrap();
        assert!(matches!(
            found.options.method,
            MethodOptions::Autorep { pressure: Pressure::Constant(3.5), .. }
        ));
        assert_eq!(
            assign(&found, "range.unit=layer").unwrap().options.range.unit,
            crate::search::Unit::Layer
        );
        for (wrong, reason) in
            [("range.size=1", "no such option"), ("epochs", "OPTION=VALUE"), ("epochs=many", "invalid type")]
        {
            let error = assign(&configuration, wrong).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_file_without_an_option_is_refused() {
        let text = text(&Configuration {
            model: "resnet20".to_owned(),
            data_set: None,
            options: SearchOptions::default(),
        })
        .unwrap();
        let shorter: Vec<&str> = text.lines().filter(|l| !l.starts_with("budget")).collect();
        assert!(parse(&shorter.join("\n")).unwrap_err().contains("budget"));
        assert!(parse(&format!("budgets = 3\n{text}")).unwrap_err().contains("budgets"));
        assert!(parse(&text.replace("weight =", "wait =")).unwrap_err().contains("wait"));
        assert!(parse(&format!("data_set = 10\n{text}")).unwrap_err().contains("must be a name"));
        let other = parse(&format!("data_set = \"cifar100\"\n{text}")).unwrap();
        assert_eq!(other.data_set.as_deref(), Some("cifar100"));
        assert_eq!(parse(&super::text(&other).unwrap()).unwrap(), other);
    }
}
