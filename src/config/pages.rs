//! `[pages]`: what the customer's pages are called, how they look, where they stand, and who may frame them.

use std::time::Duration;

use toml::Value;
use url::Url;

use super::section::Section;
use crate::sessions::Lifetimes;

/// How the customer's pages present themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagesConfig {
    /// `name`: the platform's, in titles and in the head of each page.
    pub name: String,
    /// `public_url`: where browsers find the pages, without `/portal`. `None`: at the address that they ask.
    pub public_url: Option<String>,
    /// `example_url`: a request of the data API, for the line that shows how to use a key.
    pub example_url: String,
    /// `docs_url`: the data API's documentation.
    pub docs_url: Option<String>,
    /// `support_url`: where people ask for help; `mailto:` too.
    pub support_url: Option<String>,
    pub accent: Colour,
    /// On dark ground.
    pub accent_dark: Colour,
    /// `logo_file`: an SVG.
    pub logo: Option<String>,
    /// `frame_ancestors`: origins that may show the pages in a frame. Empty: nobody.
    pub frame_ancestors: Vec<String>,
    pub lifetimes: Lifetimes,
}

impl Default for PagesConfig {
    fn default() -> PagesConfig {
        PagesConfig {
            name: "Keyledger".to_owned(),
            public_url: None,
            example_url: "https://api.example.com/serp?q=rust".to_owned(),
            docs_url: None,
            support_url: None,
            accent: Colour([0x1f, 0x5f, 0x5b]),
            accent_dark: Colour([0x7f, 0xd1, 0xc7]),
            logo: None,
            frame_ancestors: Vec::new(),
            lifetimes: Lifetimes::default(),
        }
    }
}

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// The grounds that the pages' own style sheet puts the accent on.
const LIGHT_GROUND: Colour = Colour([0xf6, 0xf5, 0xf2]);
const DARK_GROUND: Colour = Colour([0x1b, 0x1f, 0x23]);

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Colour {
    pub const WHITE: Colour = Colour([0xff; 3]);
    pub const BLACK: Colour = Colour([0x10, 0x14, 0x18]);

    /// Reads `#rrggbb`.
    fn parse(text: &str) -> Option<Colour> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let signless = digits.bytes().all(|b| b.is_ascii_hexdigit());
        signless.then_some(Colour([byte(0)?, byte(2)?, byte(4)?]))
    }

    /// Relative luminance (WCAG 2.2), in millionths; the sRGB curve by a cubic that is right to half a per cent.
    fn luminance(self) -> u64 {
        let linear = |channel: u8| {
            let c = u64::from(channel);
            // 0.012523 c + 0.682171 c² + 0.305306 c³, with c = channel / 255, times a million.
            (12_523 * c * 255 * 255 + 682_171 * c * c * 255 + 305_306 * c * c * c) / (255 * 255 * 255)
        };
        let [red, green, blue] = self.0;
        (2_126 * linear(red) + 7_152 * linear(green) + 722 * linear(blue)) / 10_000
    }

    /// The contrast ratio (WCAG 2.2), in hundredths: 450 is enough for text.
    pub fn contrast(self, other: Colour) -> u64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 50_000) * 100 / (a.min(b) + 50_000)
    }

    /// White or near black, whichever reads better on this.
    pub fn text_on(self) -> Colour {
        if self.contrast(Colour::WHITE) >= self.contrast(Colour::BLACK) {
            Colour::WHITE
        } else {
            Colour::BLACK
        }
    }
}

const CONTRAST_MIN: u64 = 450;
const LOGO_BYTES_MAX: usize = 20 << 10;

pub(super) fn read(file: &mut Section<'_>) -> PagesConfig {
    let table = file.table("pages");
    let mut pages = file.inner("[pages]", table);
    let usual = PagesConfig::default();
    let name = pages.text("name").unwrap_or(usual.name);
    if name.trim().is_empty() || name.chars().count() > 40 || name.chars().any(char::is_control) {
        pages.complain("name", "has 1 to 40 characters");
    }
    let public_url = pages.text("public_url").and_then(|text| {
        let url = public(&text);
        if url.is_none() {
            pages.complain("public_url", "is http:// or https://, a host, and a path or none");
        }
        url
    });
    let example_url = link(&mut pages, "example_url").unwrap_or(usual.example_url);
    let docs_url = link(&mut pages, "docs_url");
    let support_url = link(&mut pages, "support_url");
    let accent = colour(&mut pages, "accent", usual.accent, LIGHT_GROUND);
    let accent_dark = colour(&mut pages, "accent_dark", usual.accent_dark, DARK_GROUND);
    let logo = read_logo(&mut pages);
    let frame_ancestors = read_ancestors(&mut pages);
    // A cookie in a frame of another site has to be `Secure`, which plain http cannot carry.
    if !frame_ancestors.is_empty() && !public_url.as_deref().is_some_and(|url| url.starts_with("https://")) {
        pages.complain("frame_ancestors", "needs a public_url that begins with https://");
    }
    let idle = pages.count_within("idle_minutes", 1..=24 * 60, 30);
    let absolute = pages.count_within("absolute_minutes", 1..=7 * 24 * 60, 12 * 60);
    pages.end();
    PagesConfig {
        name,
        public_url,
        example_url,
        docs_url,
        support_url,
        accent,
        accent_dark,
        logo,
        frame_ancestors,
        lifetimes: Lifetimes {
            idle: Duration::from_secs(idle * 60),
            absolute: Duration::from_secs(absolute * 60),
        },
    }
}

/// Whether a text is an absolute web address without anything that would end an attribute or a header.
pub fn is_web(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':', '?', '#']))
        && url
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'@'))
        && url.len() <= 500
}

/// Where browsers find the pages, as browsers write it in `Origin`: the host in small letters, without the usual port.
fn public(text: &str) -> Option<String> {
    if !is_web(text) || text.contains(['?', '#']) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn link(pages: &mut Section<'_>, name: &str) -> Option<String> {
    let url = pages.text(name)?;
    let mail = url
        .strip_prefix("mailto:")
        .is_some_and(|to| to.contains('@') && to.bytes().all(|b| b.is_ascii_graphic()) && name == "support_url");
    if !mail && !is_web(&url) {
        pages.complain(name, "begins with https:// or http://");
    }
    Some(url)
}

fn colour(pages: &mut Section<'_>, name: &str, usual: Colour, ground: Colour) -> Colour {
    let Some(text) = pages.text(name) else { return usual };
    match Colour::parse(&text) {
        None => pages.complain(name, "is a colour such as \"#1f5f5b\""),
        Some(colour) if colour.contrast(ground) < CONTRAST_MIN => pages.complain(
            name,
            format!("is too near to the ground {ground} to be read: its contrast is below 4.5"),
        ),
        Some(colour) => return colour,
    }
    usual
}

fn read_logo(pages: &mut Section<'_>) -> Option<String> {
    let path = pages.text("logo_file")?;
    match std::fs::read_to_string(&path) {
        Err(error) => pages.complain("logo_file", format!("cannot be read: {error}")),
        Ok(text) if text.len() > LOGO_BYTES_MAX || !text.contains("<svg") => {
            pages.complain("logo_file", "is an SVG of at most 20 KiB");
        }
        Ok(text) => return Some(text),
    }
    None
}

fn read_ancestors(pages: &mut Section<'_>) -> Vec<String> {
    let origins = match pages.value("frame_ancestors") {
        None => return Vec::new(),
        Some(Value::Array(origins)) => origins,
        Some(_) => {
            pages.complain("frame_ancestors", "is a list of origins");
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for origin in origins {
        let text = origin.as_str().unwrap_or_default();
        let host = text.strip_prefix("https://").unwrap_or_default();
        if is_web(text) && !host.is_empty() && !host.contains(['/', ';', ',', '?', '#', '*']) {
            read.push(text.to_owned());
        } else {
            pages.complain("frame_ancestors", "holds origins such as \"https://app.example.com\"");
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn complaints(text: &str) -> Vec<String> {
        let all = Config::parse(&format!("[pages]\n{text}")).unwrap_err();
        all.into_iter().map(|c| c.place.replace("[pages] ", "")).collect()
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert_eq!(Colour::WHITE.contrast(Colour([0; 3])), 2_100);
        let grey = Colour::parse("#767676").unwrap();
        assert!(
            (448..=462).contains(&grey.contrast(Colour::WHITE)),
            "{}",
            grey.contrast(Colour::WHITE)
        );
        assert_eq!(grey.to_string(), "#767676");
    }

    #[test]
    fn the_usual_colours_can_be_read() {
        let usual = PagesConfig::default();
        assert!(usual.accent.contrast(LIGHT_GROUND) >= CONTRAST_MIN);
        assert!(usual.accent_dark.contrast(DARK_GROUND) >= CONTRAST_MIN);
        assert_eq!(
            (usual.accent.text_on(), usual.accent_dark.text_on()),
            (Colour::WHITE, Colour::BLACK)
        );
    }

    #[test]
    fn a_colour_that_nobody_could_read_is_refused() {
        assert_eq!(
            complaints("accent = '#ffee88'\naccent_dark = '#111111'"),
            ["accent", "accent_dark"]
        );
        assert_eq!(complaints("accent = 'red'"), ["accent"]);
        assert_eq!(complaints("accent = '#+1+2+3'"), ["accent"]);
    }

    #[test]
    fn addresses_are_addresses_and_frames_need_https() {
        assert_eq!(complaints("docs_url = 'javascript:alert(1)'"), ["docs_url"]);
        assert_eq!(
            complaints("frame_ancestors = ['https://a.example']"),
            ["frame_ancestors"]
        );
        let text = "public_url = 'https://k.example'\nframe_ancestors = ['https://a.example/x; script-src *']";
        assert_eq!(complaints(text), ["frame_ancestors"]);
        let right = "public_url = 'https://k.example/'\nframe_ancestors = ['https://a.example']\nsupport_url = 'mailto:h@a.example'";
        let config = Config::parse(&format!("[pages]\n{right}")).unwrap().pages;
        assert_eq!(config.public_url.as_deref(), Some("https://k.example"));
        for (written, meant) in [
            ("https://Keys.Example.com:443/", "https://keys.example.com"),
            ("http://k.example:80/Under/", "http://k.example/Under"),
            ("https://k.example:8443", "https://k.example:8443"),
        ] {
            assert_eq!(public(written).as_deref(), Some(meant));
        }
    }
}
