"""A plain SALGL head, written down as the paper's program computes it: what `training_step.py` measures against.

Nothing is clever here: images are counted one by one, label embeddings are repeated over the batch, both linear layers
of the attention are applied to the whole tensor of tangents, and every gate of the graph has its own two products.
Parameters bear the published names, so that weights can be carried over.
"""

from __future__ import annotations

import torch
from plain_sgre import PlainAttention, PlainLayer
from torch import Tensor, nn

from hlcli.methods.salgl.model import Output

_EPS = 1e-7


class PlainGraph(nn.Module):
    """Gated messages between labels [B, L, D] over graphs [B, L, L]."""

    def __init__(self, dim: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        for number in (1, 2, 3):
            setattr(self, f"fc{number}_w", nn.Linear(dim, dim))
            setattr(self, f"fc{number}_u", nn.Linear(dim, dim))

    def forward(self, features: Tensor, graph: Tensor) -> Tensor:
        """Features after all steps."""
        for _ in range(self.steps):
            message = torch.bmm(graph, features)
            update = torch.sigmoid(self.fc1_w(message) + self.fc1_u(features))
            reset = torch.sigmoid(self.fc2_w(message) + self.fc2_u(features))
            candidate = torch.tanh(self.fc3_w(message) + self.fc3_u(reset * features))
            features = (1 - update) * features + update * candidate
        return features


class PlainHead(nn.Module):
    """Our outputs from tokens [B, N, D] and targets [B, L], for hard scenes."""

    comatrix: Tensor  # [S, L, L]

    def __init__(self, dim: int, num_labels: int, embedding_dim: int, num_scenes: int = 4, steps: int = 3) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.empty(num_labels, embedding_dim))
        self.register_buffer("comatrix", torch.zeros(num_scenes, num_labels, num_labels))
        self.tb = nn.ModuleDict({"layers": nn.ModuleList([PlainLayer(dim)])})
        self.scene_linear = nn.Linear(dim, num_scenes, bias=False)
        self.ggnn = PlainGraph(dim, steps)
        self.attention = PlainAttention(dim, embedding_dim)
        self.fc = nn.Sequential(nn.Linear(2 * dim, dim), nn.Tanh())
        self.classifier = nn.Linear(dim, num_labels)

    def forward(self, tokens: Tensor, targets: Tensor) -> Output:
        """Score every label, and count the batch."""
        for layer in self.tb["layers"]:
            tokens = layer(tokens)
        scenes = self.scene_linear(tokens.mean(dim=1)).softmax(dim=-1)  # [B, S]
        best = scenes.argmax(dim=1)
        for scene, labels in zip(best.tolist(), targets, strict=True):
            self.comatrix[scene] += labels[:, None] * labels
        graphs = self.comatrix / (self.comatrix.diagonal(dim1=1, dim2=2)[:, :, None] + 1e-8)
        graph = torch.stack([graphs[scene] for scene in best.tolist()])  # [B, L, L]
        features, maps = self.attention(tokens, self.embeddings)
        joined = torch.cat((features, self.ggnn(features, graph)), dim=-1)
        logits = (self.fc(joined) * self.classifier.weight).sum(dim=-1) + self.classifier.bias
        even = torch.full_like(scenes[0], 1 / scenes.shape[1])
        batch_entropy = 100 * (entropy(even) - entropy(scenes.mean(dim=0)))
        return Output(logits, scenes, maps, graph, entropy(scenes).mean(), batch_entropy)


def entropy(probs: Tensor) -> Tensor:
    """Entropy over the last dimension, in nats."""
    return -(probs * (probs + _EPS).log()).sum(dim=-1)
