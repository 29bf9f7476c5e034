//! `skydht keygen`: creates a key.

use serde::Serialize;

use crate::cli::{Common, Keygen};
use crate::exit::Exit;
use crate::failure::Result;
use crate::{keys, output, path_text, private_file};

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    key: String,
    id: String,
    #[serde(serialize_with = "path_text::serialize")]
    file: std::path::PathBuf,
}

/// Creates a key file and prints the public key.
pub(crate) fn run(common: &Common, args: Keygen) -> Result<Exit> {
    let (file, key) = match args.file {
        Some(file) => {
            let key = keys::create_new(&file)?;
            (file, key.public())
        }
        None => {
            let settings = super::configuration(common, [])?.settings;
            if settings.key_file.is_none() {
                private_file::create_dir(settings.state()?.path())?;
            }
            let file = settings.key_file()?;
            let key = keys::create(&file)?;
            (file, key.public())
        }
    };
    if common.json {
        output::json(&Report {
            schema: "skydht.keygen/1",
            key: key.to_string(),
            id: key.id().to_string(),
            file,
        })?;
        return Ok(Exit::Ok);
    }
    output::talk(format_args!("secret key written to {}", file.display()));
    output::line(key)?;
    Ok(Exit::Ok)
}
