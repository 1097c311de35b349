//! `[keys]`: which site this is, and who keeps its key of keys.

use filmgate_model::SiteId;
use serde::{Deserialize, Serialize};

/// Keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Keys {
    pub(crate) site: Site,
}

/// Which site an empty data directory is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Site {
    /// The one whose keys the buckets hold; a new one when they hold none.
    #[default]
    Found,
    /// A new one, whatever the buckets hold.
    New,
    /// This one.
    Named(SiteId),
}

impl From<Site> for String {
    fn from(site: Site) -> Self {
        match site {
            Site::Found => Self::new(),
            Site::New => "new".to_owned(),
            Site::Named(id) => id.to_string(),
        }
    }
}

impl TryFrom<String> for Site {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "" => Ok(Self::Found),
            "new" => Ok(Self::New),
            id => id.parse().map(Self::Named).map_err(|_| {
                format!("{id:?} is neither empty nor \"new\" nor a site's id, which is 32 hexadecimal digits")
            }),
        }
    }
}
