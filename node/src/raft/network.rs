//! RaftNetwork over peer links.
//!
//! A pool of one has no peers, and openraft never asks for one: this adapter says so if it does. The
//! links between nodes take its place without touching anything else here.

use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};

use super::types::{NodeNumber, TypeConfig};

/// The network of a pool of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

/// A node that this one has no link to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there is no link to node {0}: this pool has one node")]
pub struct NoLink(NodeNumber);

impl RaftNetworkFactory<TypeConfig> for NoPeers {
    type Network = NoLink;

    async fn new_client(&mut self, target: NodeNumber, _node: &BasicNode) -> NoLink {
        NoLink(target)
    }
}

type Failed<E = openraft::error::Infallible> =
    RPCError<NodeNumber, BasicNode, RaftError<NodeNumber, E>>;

impl NoLink {
    fn unreachable(self) -> Unreachable {
        Unreachable::new(&self)
    }
}

impl RaftNetwork<TypeConfig> for NoLink {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeNumber>, Failed> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeNumber>, Failed<InstallSnapshotError>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<NodeNumber>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeNumber>, Failed> {
        Err(RPCError::Unreachable(self.unreachable()))
    }
}
