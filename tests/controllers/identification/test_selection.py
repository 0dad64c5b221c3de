import numpy as np
import pytest

from controllers.identification import Candidate, Order, chosen_order, fit_arx, order_candidates


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 3), (2, 2, 2)])
def test_bic_finds_the_true_order_and_delay(lab, size):
    fields = {1: {"a": (0.9,), "b": (0.15,)}, 2: {"a": (0.5, 0.4), "b": (0.15, 0.1)}}[size[0]]
    plant = lab.plant(**fields, delay=size[2], drift=-0.12)
    recordings = [lab.closed(plant, lab.loop(amplitude=0.3, hold=1), 400, seed=seed) for seed in range(3)]
    lowest = order_candidates(recordings, max_order=4)[0].order
    assert (lowest.na, lowest.nb, lowest.delay) == size


def test_criteria_are_those_of_a_fit_to_the_same_rows(lab):
    recording = lab.closed(lab.plant(), lab.loop(), 200, seed=0)
    candidates = {each.order: each for each in order_candidates([recording], max_order=3, max_delay=2)}
    assert len(candidates) == 18
    largest = Order(na=3, nb=3, delay=2)
    fit = fit_arx([recording], largest)
    n = fit.residuals.size
    assert n == 196  # the grid looks four back, and so does this one
    power = n * np.log(fit.residuals @ fit.residuals / n)
    assert candidates[largest].bic == pytest.approx(power + 7 * np.log(n))
    assert candidates[largest].aic == pytest.approx(power + 14)


def test_orders_with_too_few_rows_or_collinear_regressors_are_left_out(lab):
    recording = lab.closed(lab.plant(), lab.loop(), 60, seed=0)
    orders = [each.order for each in order_candidates([recording], max_order=4, max_delay=1)]
    assert max(order.num_slopes for order in orders) == 4  # 56 rows, 10 for each of 4 + 1 parameters
    all_feedback = lab.closed(lab.plant(), lab.loop(amplitude=0.0), 300, seed=0)
    orders = [each.order for each in order_candidates([all_feedback], max_order=3, max_delay=1)]
    assert Order(na=1, nb=1, delay=1) in orders
    assert Order(na=2, nb=2, delay=1) not in orders  # u_1 − u_2 is a PI's answer to z_1 and z_2


def candidate(na, bic, aic=0.0):
    return Candidate(order=Order(na=na, nb=1, delay=1), bic=bic, aic=aic)


@pytest.mark.parametrize(
    ("white", "by", "na"),
    [
        ({1, 2, 3}, "bic", 1),
        ({2, 3}, "bic", 2),  # white before lower, as long as it is close
        ({3}, "bic", 1),  # not if it is 20 worse
        (set(), "bic", 1),
        ({1, 2, 3}, "aic", 3),
    ],
)
def test_whiteness_decides_among_close_ones_only(white, by, na):
    candidates = [candidate(1, -100.0, -110.0), candidate(2, -95.0, -112.0), candidate(3, -80.0, -120.0)]
    p_value = {order: 0.5 if order in white else 0.01 for order in (1, 2, 3)}
    assert chosen_order(candidates, lambda order: p_value[order.na], by).na == na


def test_refusals(lab):
    recording = lab.closed(lab.plant(), lab.loop(), 60, seed=0)
    with pytest.raises(ValueError, match="max_order must be >= 1, got 0"):
        order_candidates([recording], max_order=0)
    with pytest.raises(ValueError, match="max_delay must be >= 1, got 0"):
        order_candidates([recording], max_delay=0)
