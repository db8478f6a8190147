//! Prints what the reader of shell lines makes of each line of its input: `echo 'ls | wc' | cargo run --example shell`.

#![allow(clippy::print_stdout, reason = "printing is what it does")]

use countersign_core::facts::shell::ShellFacts;
use std::io::BufRead;
use std::time::Instant;

fn main() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let line = line.replace("\\n", "\n");
        let begin = Instant::now();
        let facts = ShellFacts::read(&line);
        let took = begin.elapsed();
        println!("{line}\n    {:?} in {took:?}", facts.opaque);
        for (place, command) in facts.commands.iter().enumerate() {
            println!(
                "    {place}: {}  [from {:?}, by {:?}]",
                command.text(),
                command.piped_from,
                command.run_by
            );
        }
    }
}
