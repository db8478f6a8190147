//! stub
use super::Context;
/// stub
#[derive(clap::Args, Debug)]
pub struct Doctor {}
impl Doctor {
    pub async fn run(self, _cx: &Context) -> anyhow::Result<u8> { Ok(2) }
}
