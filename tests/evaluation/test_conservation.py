"""Conservation errors per image, against formulas by hand and the ledger of one image."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from composition.counting import compilations
from support.networks import B1, B2, W1, W2, Block, close, largest, mlp, mlp_output, normal

from lrpjax import Composite, PlanError, audit, lrp, rules, targets
from lrpjax.evaluation.attributions import gradient_times_input, integrated_gradients
from lrpjax.evaluation.conservation import conservation, conservation_error

XS = normal(4, 4, seed=440)
EPSILON = 0.3


@pytest.fixture(autouse=True)
def _double_precision(x64):
    """Compare to ten digits."""


def by_hand(x, start):
    """What the ε-rule passes on, gives to biases and loses to ε in the MLP, for one example."""
    z1 = x @ W1 + B1
    c2 = oracle.quotient(start, mlp_output(x), EPSILON)
    hidden = np.maximum(z1, 0.0) * (W2 @ c2)
    c1 = oracle.quotient(hidden, z1, EPSILON)
    lost = (start - c2 * mlp_output(x)).sum() + (hidden - c1 * z1).sum()
    return (x * (W1 @ c1)).sum(), B1 @ c1 + B2 @ c2, lost


@pytest.mark.parametrize(
    ("target", "start"),
    [
        (None, largest),
        (targets.one_hot(1), lambda z: np.tile(np.eye(3)[1], (4, 1))),
        (np.array([2, 0, 1, 0]), lambda z: z * np.eye(3)[[2, 0, 1, 0]]),
        (lambda z: z**2, np.square),
    ],
)
def test_each_images_relevance_is_accounted_for(target, start):
    starts = start(mlp_output(XS))
    inputs, bias, stabiliser = np.transpose(
        [by_hand(*pair) for pair in zip(XS, starts, strict=True)]
    )
    found = conservation(mlp, rules.Epsilon(EPSILON), XS, target=target)
    close(found.start, starts.sum(1))
    close((found.inputs, found.bias, found.stabiliser), (inputs, bias, stabiliser))
    close(found.error, np.abs(inputs - starts.sum(1)) / np.abs(starts.sum(1)), rtol=1e-8)
    assert not found.stopped.any() and not found.remainder.any()
    assert np.abs(found.unexplained).max() < 1e-12


def test_it_is_the_audit_of_each_image_alone():
    module, labels = Block(4), [2, 0, 3, 1]
    variables = {
        "params": {"inner": {"kernel": normal(4, 4, seed=441), "bias": normal(4, seed=442)}}
    }
    found = conservation(module, None, variables, XS, target=np.array(labels))
    for i, t in enumerate(labels):
        ledger = audit(module, None, variables, XS[i : i + 1], target=t)
        for name in ("start", "inputs"):
            assert getattr(found, name)[i] == pytest.approx(getattr(ledger, name), rel=1e-10)
        for column in ("bias", "stabiliser", "stopped", "remainder"):
            total = sum(getattr(row, column) for row in ledger.rows)
            assert getattr(found, column)[i] == pytest.approx(total, rel=1e-8, abs=1e-14)
    assert found.bias.any() and found.inputs.any()


def test_stopped_relevance_is_shown():
    half = Composite(add=rules.Zero())
    found = conservation(lambda x: jax.lax.stop_gradient(x) + 2 * x, half, XS[:, :1])
    close(found.stopped, XS[:, 0], rtol=1e-6)
    close(found.error, np.full(4, 1 / 3), rtol=1e-4)


def test_any_method_has_a_conservation_error():
    logits = mlp_output(XS)
    outputs = logits.max(1)
    found = conservation_error(integrated_gradients(jnp.tanh), jnp.tanh, XS)
    np.testing.assert_allclose(found, 0, atol=1e-12)
    explained = gradient_times_input(mlp)(XS)
    expected = np.abs(np.asarray(explained).sum(1) - outputs) / np.abs(outputs)
    close(conservation_error(gradient_times_input(mlp), mlp, XS), expected)
    assert expected.max() > 1e-3


def test_lrp_has_the_same_error_by_both_ways():
    found = conservation(mlp, rules.Gamma(0.5), XS, target=1)
    close(conservation_error(lrp(mlp, rules.Gamma(0.5)), mlp, XS, target=1), found.error)


def test_several_arguments_and_aux():
    f = lambda x, y: ((x * W1[:, 0]).sum(1, keepdims=True) + (y**2).sum(1, keepdims=True), x)
    options = dict(argnums=(0, 1), has_aux=True)
    attribute = lrp(f, rules.Zero(), **options)
    error = conservation_error(attribute, f, XS, XS, **options)
    np.testing.assert_allclose(error, 0, atol=1e-4)
    found = conservation(f, rules.Zero(), XS, XS, **options)
    close(found.start, XS @ W1[:, 0] + (XS**2).sum(1))


def test_nothing_from_nothing_is_no_error():
    xs = np.array([[0.0, 0.0], [1.0, -1.0]])
    f = lambda x: x.sum(1, keepdims=True)
    assert conservation_error(lambda x, target: x**2, f, xs).tolist() == [0, np.inf]
    assert conservation_error(lambda x, target: x, f, xs).tolist() == [0, 0]


def test_the_table_has_a_row_for_each_image():
    text = str(conservation(mlp, None, XS))
    assert len(text.splitlines()) == 2 + len(XS)
    assert text.split()[:9] == [
        *("image", "start", "inputs", "bias", "stabiliser", "stopped", "remainder"),
        *("unexplained", "error"),
    ]


RUNS = []


def test_a_second_batch_traces_and_compiles_nothing():
    def f(x):
        RUNS.append(1)
        return mlp(x)

    xs = jnp.asarray(XS)
    conservation(f, rules.Epsilon(0.1), xs, target=0)
    traces = len(RUNS)
    with compilations() as compiled:
        conservation(f, rules.Epsilon(0.2), xs + 1.0, target=2)
    assert len(RUNS) == traces
    assert len(compiled) <= 1  # xs + 1.0


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conservation(lambda x: x * 2, None, 1.0), "batch axis"),
        (lambda: conservation(lambda x, y: mlp(x), None, XS, XS[:2], argnums=(0, 1)), "batch axis"),
        (lambda: conservation(mlp, None, XS, target=3), "range"),
        (lambda: conservation_error(lrp(mlp), mlp, XS, target=3), "range"),
        (lambda: conservation_error(lambda x, target: x[:2], mlp, XS), "batch axis of 4"),
        (lambda: conservation_error(lrp(mlp), lambda x: mlp(x)[0], XS), "batch axis of 4"),
    ],
)
def test_what_does_not_fit_is_a_plan_error(call, message):
    with pytest.raises(PlanError, match=message):
        call()
