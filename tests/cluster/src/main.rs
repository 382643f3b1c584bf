//! `tests/cluster/cluster`: clusters for people, who try things out or let tests run against one that stays.
#![allow(clippy::print_stdout, reason = "a command line program reports on its standard streams")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use cluster::{Cluster, ControlPlane, Image, ImageOptions};

/// A real Kubernetes on this machine, for trying things and for tests.
#[derive(Parser)]
#[command(name = "tests/cluster/cluster")]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Build what a cluster runs, once, and print the folder that it is kept in.
    Programs,
    /// Start a cluster that runs until `down`.
    Up {
        /// Nodes that run pods; with 0 there is a control plane only, which needs no root.
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        /// Keep it only as long as this command runs, however that ends.
        #[arg(long)]
        foreground: bool,
    },
    /// End a cluster, or all that `up` has started.
    Down {
        /// The cluster's folder.
        folder: Option<PathBuf>,
    },
    /// Print what a shell needs to use a cluster: `eval "$(tests/cluster/cluster env)"`.
    Env {
        /// The cluster's folder; may be left out where there is one.
        folder: Option<PathBuf>,
    },
    /// Make an image of a program for `load`; `config/image/build` has more options.
    Image(NewImage),
    /// Load an image into every node; pods use it with `imagePullPolicy: Never`.
    Load {
        /// The image's archive.
        archive: PathBuf,
        /// The cluster's folder; may be left out where there is one.
        folder: Option<PathBuf>,
    },
}

#[derive(Args)]
struct NewImage {
    /// The file to write.
    archive: PathBuf,
    /// The name that pods call it by, with a tag.
    name: String,
    /// The program.
    binary: PathBuf,
    /// Its arguments, unless a pod says others.
    arguments: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(arguments.command))
}

async fn run(command: Subcommands) -> Result<ExitCode> {
    match command {
        Subcommands::Programs => {
            let status =
                Command::new(cluster::build_script()).status().context("cannot start the script that builds")?;
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Subcommands::Up { nodes, foreground: true } => hold(nodes).await?,
        Subcommands::Up { nodes, foreground: false } => up(nodes).await?,
        Subcommands::Down { folder } => down(folder).await?,
        Subcommands::Env { folder } => env(&chosen(folder)?)?,
        Subcommands::Image(image) => make(&image).await?,
        Subcommands::Load { archive, folder } => load(&archive, &chosen(folder)?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(nodes: usize) -> Result<()> {
    let folder = match nodes {
        0 => ControlPlane::start_own().await?.detach().await?,
        _ => Cluster::start_own(nodes).await?.detach().await?,
    };
    tell(&folder);
    Ok(())
}

async fn hold(nodes: usize) -> Result<()> {
    match nodes {
        0 => until_interrupted(&ControlPlane::start_own().await?).await,
        _ => until_interrupted(&*Cluster::start_own(nodes).await?).await,
    }
}

async fn until_interrupted(control_plane: &ControlPlane) -> Result<()> {
    tell(control_plane.kubeconfig().parent().context("a kubeconfig lies in its cluster's folder")?);
    Ok(tokio::signal::ctrl_c().await?)
}

fn tell(folder: &Path) {
    println!("the cluster runs in {}\neval \"$(tests/cluster/cluster env {})\"", folder.display(), folder.display());
}

async fn down(folder: Option<PathBuf>) -> Result<()> {
    let folders = folder.map_or_else(cluster::detached_clusters, |folder| vec![folder]);
    for folder in folders {
        cluster::end_detached(&folder).await?;
        println!("ended the cluster in {}", folder.display());
    }
    Ok(())
}

fn env(folder: &Path) -> Result<()> {
    let output = Command::new(cluster::build_script()).arg("--print").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let programs = String::from_utf8_lossy(&output.stdout);
    println!("export KUBECONFIG='{}' PATH='{}':\"$PATH\"", folder.join("kubeconfig").display(), programs.trim());
    Ok(())
}

async fn make(image: &NewImage) -> Result<()> {
    let arguments: Vec<&str> = image.arguments.iter().map(String::as_str).collect();
    let options = ImageOptions { arguments: &arguments, ..ImageOptions::new(&image.name, &image.binary) };
    Image::build(&image.archive, options).await?;
    println!("{} is in {}", image.name, image.archive.display());
    Ok(())
}

async fn load(archive: &Path, folder: &Path) -> Result<()> {
    Cluster::of_folder(folder).await?.load_image(archive).await
}

/// The cluster that is meant: the one that is named, or the only one.
fn chosen(folder: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = folder {
        return Ok(folder);
    }
    match &cluster::detached_clusters()[..] {
        [only] => Ok(only.clone()),
        [] => bail!("no cluster runs; start one with `tests/cluster/cluster up`"),
        many => {
            let names: Vec<String> = many.iter().map(|folder| folder.display().to_string()).collect();
            bail!("several clusters run, name one of them: {}", names.join(", "))
        }
    }
}
