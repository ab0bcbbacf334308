//! Where segments are kept: a directory, or a bucket of an S3-compatible store.
//!
//! A place is written as a path, or as `s3://bucket/prefix?endpoint=https://host&region=eu-central-1`. It has no credentials:
//! those come from the environment, as every S3 client reads them.

use std::path::{Path, PathBuf};

use url::Url;

/// Where segments are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Directory(PathBuf),
    Bucket(Bucket),
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub endpoint: Url,
    pub region: String,
    pub name: String,
    /// Begins every object's name; empty, or with `/` at its end.
    pub prefix: String,
    /// `https://host/bucket/object`, as everything but the largest provider has it; else `https://bucket.host/object`.
    pub path_style: bool,
}

/// The text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no place for segments: {why}")]
pub struct BadPlace {
    text: String,
    why: &'static str,
}

const REGION: &str = "us-east-1";

impl Place {
    /// Reads a directory's absolute path, or `s3://…`.
    pub fn parse(text: &str) -> Result<Place, BadPlace> {
        let bad = |why| BadPlace {
            text: text.to_owned(),
            why,
        };
        if text.starts_with("s3://") {
            return Ok(Place::Bucket(bucket(text).map_err(bad)?));
        }
        let path = Path::new(text);
        if text.contains("://") || !path.is_absolute() {
            return Err(bad("it is an absolute path, or begins with s3://"));
        }
        Ok(Place::Directory(path.to_owned()))
    }
}

fn bucket(text: &str) -> Result<Bucket, &'static str> {
    let url = Url::parse(text).map_err(|_| "it cannot be read")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("credentials come from the environment, and there is no part after #");
    }
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or("it names no bucket")?;
    let (mut endpoint, mut region, mut path_style) = (None, None, true);
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "endpoint" => endpoint = Some(Url::parse(&value).map_err(|_| "its endpoint is no URL")?),
            "region" => region = Some(value.into_owned()),
            "style" if value == "path" => path_style = true,
            "style" if value == "host" => path_style = false,
            _ => return Err("it has endpoint, region, and style=path or style=host"),
        }
    }
    let region = region.unwrap_or_else(|| REGION.to_owned());
    let endpoint = match endpoint {
        Some(endpoint) => endpoint,
        None => Url::parse(&format!("https://s3.{region}.amazonaws.com")).map_err(|_| "its region is none")?,
    };
    if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host_str().is_none() {
        return Err("its endpoint is http:// or https:// and a host");
    }
    let prefix = url.path().trim_matches('/');
    Ok(Bucket {
        endpoint,
        region,
        name: name.to_owned(),
        prefix: if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        },
        path_style,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_absolute_path_or_a_part_of_a_bucket() {
        assert_eq!(
            Place::parse("/var/lib/keyledger/archive"),
            Ok(Place::Directory("/var/lib/keyledger/archive".into()))
        );
        let Ok(Place::Bucket(bucket)) = Place::parse("s3://log/live/a?endpoint=http://127.0.0.1:9000&region=here")
        else {
            panic!("a bucket");
        };
        assert_eq!((bucket.name.as_str(), bucket.prefix.as_str()), ("log", "live/a/"));
        assert_eq!((bucket.region.as_str(), bucket.path_style), ("here", true));
        let Ok(Place::Bucket(bucket)) = Place::parse("s3://log?region=eu-central-1&style=host") else {
            panic!("a bucket");
        };
        assert_eq!(bucket.endpoint.as_str(), "https://s3.eu-central-1.amazonaws.com/");
        assert_eq!((bucket.prefix.as_str(), bucket.path_style), ("", false));
        for bad in [
            "",
            "archive",
            "http://a/b",
            "s3://",
            "s3://k:s@log",
            "s3://log?endpoint=ftp://a",
            "s3://log?secret=a",
        ] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
