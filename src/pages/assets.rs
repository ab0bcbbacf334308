//! Style sheet, script, icon and logo, under names that change with what is in them, so that browsers may keep them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use keyledger_events::KeyDigest;

use super::Pages;
use super::fault::Fault;
use crate::config::PagesConfig;

// One file each for the browser; here one for each part of the pages.
const STYLE: &str = concat!(include_str!("assets/portal.css"), include_str!("assets/credits.css"),);
/// Beside it, on the pages of the history and on the operators'.
const HISTORY_STYLE: &str = include_str!("assets/activity.css");
const SCRIPT: &str = concat!(
    include_str!("assets/portal.js"),
    include_str!("assets/charts.js"),
    include_str!("assets/live.js"),
);
/// Beside it, on the page with the slider.
const SLIDER: &str = include_str!("assets/slider.js");
const ICON: &str = include_str!("assets/icon.svg");

/// What the pages refer to.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) style: Asset,
    pub(super) history_style: Asset,
    pub(super) script: Asset,
    pub(super) slider: Asset,
    pub(super) icon: Asset,
    pub(super) logo: Option<Asset>,
}

#[derive(Debug)]
pub(super) struct Asset {
    /// Its name below `assets/`.
    pub(super) name: String,
    kind: &'static str,
    content: Bytes,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, content: String) -> Asset {
        let mut hash = KeyDigest::of(&content).to_string();
        hash.truncate(16);
        Asset {
            name: format!("{stem}-{hash}.{ending}"),
            kind,
            content: content.into(),
        }
    }
}

impl Assets {
    pub(super) fn new(config: &PagesConfig) -> Assets {
        let (light, dark) = (config.accent, config.accent_dark);
        let style = format!(
            "{STYLE}:root{{--accent:{light};--on-accent:{}}}\
             @media(prefers-color-scheme:dark){{:root{{--accent:{dark};--on-accent:{}}}}}\n",
            light.text_on(),
            dark.text_on(),
        );
        let icon = ICON
            .replace("#123456", &light.to_string())
            .replace("#654321", &light.text_on().to_string());
        Assets {
            style: Asset::new("portal", "css", "text/css; charset=utf-8", style),
            history_style: Asset::new("history", "css", "text/css; charset=utf-8", HISTORY_STYLE.to_owned()),
            script: Asset::new("portal", "js", "text/javascript; charset=utf-8", lean(SCRIPT)),
            slider: Asset::new("slider", "js", "text/javascript; charset=utf-8", lean(SLIDER)),
            icon: Asset::new("icon", "svg", "image/svg+xml", icon),
            logo: config
                .logo
                .clone()
                .map(|logo| Asset::new("logo", "svg", "image/svg+xml", logo)),
        }
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        let fixed = [&self.style, &self.history_style, &self.script, &self.slider, &self.icon];
        fixed.into_iter().chain(&self.logo).find(|asset| asset.name == name)
    }
}

/// A script without its indents and its lines of comment, which no browser needs. Ours has no text over several lines.
fn lean(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    let kept: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect();
    kept.join("\n")
}

/// 200 the file, to be kept for ever. 404 no such file, or one of another version.
pub(super) async fn serve(State(pages): State<Pages>, Path(name): Path<String>) -> Result<Response, Fault> {
    let asset = pages.assets().find(&name).ok_or(Fault::NotFound)?;
    // A logo is the platform's own file; opened by itself it still runs nothing.
    let headers = [
        (CONTENT_TYPE, asset.kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        ),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((headers, asset.content.clone()).into_response())
}
