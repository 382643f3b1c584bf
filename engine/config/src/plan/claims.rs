//! Sockets and files that only one component can have.

use std::iter;
use std::path::{Component as Part, Path, PathBuf};

use crate::address::ListenAddress;
use crate::component::Resource;
use crate::document::{At, Finding, Report};
use crate::pipeline::Pipeline;
use crate::problem::Code;

/// A claim and who makes it.
struct Claimed {
    resource: Resource,
    owner: String,
    at: At,
}

/// Reports every claim that an earlier one excludes.
pub(super) fn check(pipeline: &Pipeline, report: &mut Report<'_>) {
    let settings = &pipeline.settings;
    let status = settings.status.as_ref().map(|status| ("status", status.listen));
    let own = |(table, address): (&str, ListenAddress)| Claimed {
        resource: Resource::Tcp(address),
        owner: table.to_owned(),
        at: pipeline.settings_place(table, "listen"),
    };
    let mut claimed: Vec<_> = iter::once(("admin", settings.admin.listen)).chain(status).map(own).collect();
    for (id, component) in pipeline.components() {
        let owner = Pipeline::label(id, component);
        for claim in component.options.facts().claims {
            let at = component.place(&claim.path);
            claimed.push(Claimed { resource: claim.resource, owner: owner.clone(), at });
        }
    }
    // The later one in the files gets the message; what is written nowhere cannot be shown and stands first.
    claimed.sort_by_key(|claim| (claim.at != At::NOWHERE, claim.at.file, claim.at.start));
    for (index, claim) in claimed.iter().enumerate() {
        let Some(first) = claimed[..index].iter().find(|first| excludes(&first.resource, &claim.resource)) else {
            continue;
        };
        let (what, help) = match &claim.resource {
            Resource::Tcp(address) => (format!("the address {address}"), "choose another port"),
            Resource::File(path) => (format!("the file {}", path.display()), "choose another path"),
        };
        let message = match (&first.resource, &claim.resource) {
            (Resource::Tcp(other), Resource::Tcp(own)) if other != own => {
                format!("{what} is taken by {}, which listens on {other}", first.owner)
            }
            _ => format!("{what} is taken by {}", first.owner),
        };
        report.add(claim.at, Some(&claim.owner), Finding::error(Code::Claim, message).help(help));
    }
}

fn excludes(first: &Resource, second: &Resource) -> bool {
    match (first, second) {
        (Resource::Tcp(left), Resource::Tcp(right)) => left.overlaps(*right),
        (Resource::File(left), Resource::File(right)) => normalized(left) == normalized(right),
        _ => false,
    }
}

/// The path without `.`, `..` and doubled slashes, as far as that can be said without looking at the disk.
fn normalized(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Part::CurDir => {}
            Part::ParentDir if parts.file_name().is_some() => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}
