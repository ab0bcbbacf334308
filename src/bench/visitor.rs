//! Somebody with a cookie on the customer's pages, who follows what the pages offer.

use std::net::SocketAddr;

use anyhow::Context as _;
use http::header::COOKIE;
use http::{HeaderMap, Request};
use http_body_util::Full;

use super::wire::Wire;

#[derive(Debug)]
pub(super) struct Visitor {
    wire: Wire,
    cookie: String,
}

/// What a page answered.
#[derive(Debug)]
pub(super) struct Fetched {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

const ROOT: &str = "/portal/";

impl Visitor {
    pub(super) async fn connect(address: SocketAddr, cookie: &str) -> anyhow::Result<Visitor> {
        Ok(Visitor {
            wire: Wire::open(address).await?,
            cookie: cookie.to_owned(),
        })
    }

    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Fetched> {
        let request = Request::get(path).header(COOKIE, &self.cookie).body(Full::default())?;
        let (head, body) = self.wire.send(request).await?;
        Ok(Fetched {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec())?,
        })
    }

    /// A page that has to be there.
    pub(super) async fn page(&mut self, path: &str) -> anyhow::Result<Fetched> {
        let page = self.get(path).await?;
        anyhow::ensure!(page.status == 200, "{path} answered {}: {}", page.status, page.text);
        Ok(page)
    }
}

impl Fetched {
    pub(super) fn header(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.headers.get(name).with_context(|| format!("no {name}"))?;
        Ok(value.to_str()?)
    }

    /// Where the navigation leads.
    pub(super) fn navigation(&self) -> Vec<String> {
        links(between(&self.text, "<nav", "</nav>"))
    }

    /// Where the page's own part leads: one address of each shape.
    pub(super) fn leads(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for link in links(between(&self.text, "<main", "</main>")) {
            if !found.iter().any(|known| shape(known) == shape(&link)) {
                found.push(link);
            }
        }
        found
    }

    /// Where the list goes on.
    pub(super) fn next(&self) -> Option<String> {
        let (before, _) = self.text.split_once("rel=\"next\"")?;
        links(before.rsplit_once("<a ")?.1).pop()
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let inside = text.split_once(from).map_or("", |(_, rest)| rest);
    inside.split_once(to).map_or(inside, |(inside, _)| inside)
}

/// The pages' own addresses are relative, so what has a scheme leads away.
fn links(html: &str) -> Vec<String> {
    html.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(link, _)| link)
        .filter(|link| !link.contains(':') && !link.starts_with(['#', '?']))
        .map(|link| format!("{ROOT}{}", link.trim_start_matches("../").replace("&#38;", "&")))
        .collect()
}

/// An address without what names one thing among many.
pub(super) fn shape(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let segments = path.split('/').map(|segment| {
        let names_one = segment.bytes().any(|byte| byte.is_ascii_digit());
        if names_one { "…" } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<nav><a href=\"keys\">Keys</a> <a href=\"credits\">Credits</a></nav><main><a href=\"https://docs.example\">x</a>\
        <a href=\"keys/key_01A/rename\">a</a><a href=\"keys/key_01B/rename\">b</a><a class=\"x\" href=\"keys?below=key_01B&#38;n=2\" rel=\"next\">Older</a></main>";

    fn page() -> Fetched {
        Fetched {
            status: 200,
            headers: HeaderMap::new(),
            text: PAGE.to_owned(),
        }
    }

    #[test]
    fn a_visitor_sees_where_a_page_leads() {
        assert_eq!(page().navigation(), ["/portal/keys", "/portal/credits"]);
        assert_eq!(
            page().leads(),
            ["/portal/keys/key_01A/rename", "/portal/keys?below=key_01B&n=2"]
        );
        assert_eq!(page().next().as_deref(), Some("/portal/keys?below=key_01B&n=2"));
    }
}
