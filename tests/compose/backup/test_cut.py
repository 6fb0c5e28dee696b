"""The cut through the partitions: nothing in it is the effect of what is left out."""

from __future__ import annotations

import random

from backbeat.compose.backup.cut import Send, consistent_ends


def test_ends_stay_where_every_source_is_there():
    assert consistent_ends({0: 5, 1: 7}, [Send(1, 6, 0, 4), Send(0, 4, 1, 5)]) == {0: 5, 1: 7}


def test_what_follows_from_a_command_that_is_left_out_is_left_out_too():
    # 0/5 was written after the end of partition 0 was asked for; 1/6 is its effect, 2/3 an effect of that.
    sends = [Send(2, 3, 1, 6), Send(1, 6, 0, 5), Send(0, 4, 2, 2)]
    assert consistent_ends({0: 5, 1: 9, 2: 8}, sends) == {0: 5, 1: 6, 2: 3}


def test_random_stories_have_no_effect_without_its_cause():
    for seed in range(300):
        dice = random.Random(seed)
        lengths, sends = dict.fromkeys(range(3), 0), []
        early = {}
        for _ in range(60):
            partition = dice.randrange(3)
            sources = [number for number in lengths if lengths[number]]
            if sources and dice.random() < 0.7:
                source = dice.choice(sources)
                sends.append(Send(partition, lengths[partition], source, dice.randrange(lengths[source])))
            lengths[partition] += 1
            if len(early) < 3 and dice.random() < 0.1:
                early[len(early)] = lengths[len(early)]  # the partitions' ends are asked for one after the other
        ends = {number: early.get(number, lengths[number]) for number in lengths}
        cut = consistent_ends(ends, sends)
        assert all(cut[number] <= ends[number] for number in ends)
        kept = [send for send in sends if send.offset < cut[send.partition]]
        assert all(send.source_offset < cut[send.source_partition] for send in kept), seed
