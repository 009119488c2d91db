"""Losses of captions, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from hlcli.captioning.losses import cross_entropy_loss, self_critical_loss, word_log_probs

PAD, BEGIN, END = 1, 2, 3


def test_cross_entropy_is_the_mean_over_next_words() -> None:
    """Two captions of two words and one word: begin does not count, the end and the unknown word do."""
    probabilities = torch.full((2, 4, 5), 0.2, dtype=torch.float64)
    probabilities[0, 0] = torch.tensor([0.5, 0.1, 0.1, 0.2, 0.1])
    token_ids = torch.tensor([[BEGIN, 0, 4, END], [BEGIN, END, PAD, PAD]])
    expected = -(math.log(0.5) + math.log(0.2) + math.log(0.2) + math.log(0.2)) / 4
    log_probs = probabilities.log()
    assert cross_entropy_loss(log_probs, token_ids, PAD).item() == pytest.approx(expected)
    assert cross_entropy_loss(log_probs + 7, token_ids, PAD).item() == pytest.approx(expected)  # logits
    assert cross_entropy_loss(log_probs[:, None], token_ids[:, None], PAD).item() == pytest.approx(expected)


def test_cross_entropy_of_one_caption_does_not_depend_on_its_filling() -> None:
    logits = torch.randn(1, 6, 5)
    short = cross_entropy_loss(logits[:, :3], torch.tensor([[BEGIN, 4, END]]), PAD)
    assert_close(cross_entropy_loss(logits, torch.tensor([[BEGIN, 4, END, PAD, PAD, PAD]]), PAD), short)


def test_smoothing_spreads_the_target() -> None:
    log_probs = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.6]).log().expand(1, 2, 5)
    loss = cross_entropy_loss(log_probs, torch.tensor([[BEGIN, 4]]), PAD, label_smoothing=0.5)
    assert loss.item() == pytest.approx(0.5 * -math.log(0.6) + 0.5 * -(4 * math.log(0.1) + math.log(0.6)) / 5)


def test_words_count_up_to_the_first_end() -> None:
    logits = torch.randn(2, 4, 5, dtype=torch.float64)
    token_ids = torch.tensor([[4, END, 0, END], [4, 0, 4, 4]])
    expected = logits.log_softmax(-1).gather(-1, token_ids[..., None]).squeeze(-1)
    expected[0, 2:] = 0
    assert_close(word_log_probs(logits, token_ids, END), expected)


def test_self_critical_loss_by_hand() -> None:
    """One image, two captions: the better one is to become likelier; all four places divide, whatever the length."""
    log_probs = torch.tensor([[[-1.0, -1.0, 0.0, 0.0], [-2.0, -2.0, -2.0, -2.0]]], requires_grad=True)
    reward = torch.tensor([[1.0, 0.0]])
    loss = self_critical_loss(log_probs, reward)
    assert loss.item() == pytest.approx((0.5 * 0.5 + 2 * -0.5) / 2)
    loss.backward()
    assert_close(log_probs.grad, torch.tensor([[[-0.0625] * 4, [0.0625] * 4]]))
    greedy = self_critical_loss(log_probs, reward, torch.tensor([[0.25]]))
    assert greedy.item() == pytest.approx((0.5 * 0.75 + 2 * -0.25) / 2)


def test_equal_rewards_teach_nothing() -> None:
    log_probs = torch.randn(3, 5, 4, requires_grad=True)
    self_critical_loss(log_probs, torch.full((3, 5), 0.7)).backward()
    assert log_probs.grad is not None
    assert_close(log_probs.grad, torch.zeros_like(log_probs))


def test_rewards_are_constants() -> None:
    reward = torch.rand(2, 3, requires_grad=True)
    self_critical_loss(torch.randn(2, 3, 4, requires_grad=True), reward).backward()
    assert reward.grad is None
