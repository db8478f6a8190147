//! `countersign completions`: for shells, and the manual page; both are made from the same list as `--help`.

use super::{Cli, exit};
use clap::CommandFactory as _;
use std::io::Write as _;

/// Print completions for a shell, or the manual page.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  countersign completions bash > ~/.local/share/bash-completion/completions/countersign\n  countersign completions man > countersign.1"
)]
pub struct Completions {
    /// bash, zsh, fish, elvish, powershell, or man.
    #[arg(value_parser = ["bash", "zsh", "fish", "elvish", "powershell", "man"])]
    shell: String,
}

impl Completions {
    /// Prints.
    pub fn run(self) -> anyhow::Result<u8> {
        let mut command = Cli::command();
        let mut out = Vec::new();
        match self.shell.parse::<clap_complete::Shell>() {
            Ok(shell) => clap_complete::generate(shell, &mut command, "countersign", &mut out),
            Err(_) => {
                clap_mangen::Man::new(command.clone()).render(&mut out)?;
                for sub in command.get_subcommands().filter(|s| !s.is_hide_set()) {
                    let name: &'static str =
                        Box::leak(format!("countersign-{}", sub.get_name()).into_boxed_str());
                    clap_mangen::Man::new(sub.clone().name(name)).render(&mut out)?;
                }
            }
        }
        std::io::stdout().write_all(&out)?;
        Ok(exit::OK)
    }
}
