"""Perturbation curves in NumPy, image by image and pixel by pixel, from the papers' formulas."""

import itertools

import numpy as np

rng = np.random.default_rng(7)
W1, W2 = rng.normal(size=(5, 7, 3, 6)) / 300, rng.normal(size=(6, 4))


def model(image):
    """A small network with a nonlinearity: [5, 7, 3] -> [4]."""
    hidden = np.array([(image * W1[..., k]).sum() for k in range(6)])
    return np.tanh(hidden) @ W2


def regions_of(shape, region):
    """Lists of pixels, one list per region, row by row from the top left."""
    boxes = []
    for top in range(0, shape[0], region[0]):
        for left in range(0, shape[1], region[1]):
            rows = range(top, min(top + region[0], shape[0]))
            columns = range(left, min(left + region[1], shape[1]))
            boxes.append([(i, j) for i in rows for j in columns])
    return boxes


def sorted_regions(order, scores):
    """Indices of regions, the first to be removed first; equals in their natural order."""
    sort_by = {"MoRF": lambda s: -s, "LeRF": lambda s: s, "smallest_absolute": abs}[order]
    return sorted(range(len(scores)), key=lambda index: (sort_by(scores[index]), index))


def score_of(outputs, target, score):
    if score == "logit":
        return outputs[target]
    powers = np.exp(outputs - outputs.max())
    return powers[target] / powers.sum()


def curve(image, relevance, replacement, order, region, steps, per_step, score, target=None):
    """The scores of one image before the first step and after each."""
    boxes = regions_of(image.shape, region)
    sums = [sum(relevance[i, j].sum() for i, j in box) for box in boxes]
    queue = sorted_regions(order, sums)
    target = int(np.argmax(model(image))) if target is None else target
    current = image.astype(np.float64).copy()
    scores = [score_of(model(current), target, score)]
    for _ in range(steps):
        for _ in range(per_step):
            for i, j in boxes[queue.pop(0)]:
                current[i, j] = replacement[i, j]
        scores.append(score_of(model(current), target, score))
    return np.array(scores)


def blurred(image, sigma):
    """A Gaussian blur whose weights add up to one within the image."""
    height, width, _ = image.shape
    result = np.zeros_like(image, dtype=np.float64)
    for i in range(height):
        for j in range(width):
            total = 0.0
            for k in range(height):
                for m in range(width):
                    weight = np.exp(-((i - k) ** 2 + (j - m) ** 2) / (2 * sigma**2))
                    result[i, j] += weight * image[k, m]
                    total += weight
            result[i, j] /= total
    return result


def aopc(curves):
    """1/(L+1) <sum over k of f(x0) - f(xk)>, over images."""
    total = 0.0
    for scores in curves:
        total += sum(scores[0] - score for score in scores) / len(scores)
    return total / len(curves)


def abpc(lerf, morf):
    """1/(L+1) <sum over k of f(LeRF) - f(MoRF)>, over images."""
    total = 0.0
    for one, other in zip(lerf, morf, strict=True):
        total += sum(a - b for a, b in zip(one, other, strict=True)) / len(one)
    return total / len(lerf)


def auc(curves):
    """The area under the curve, trapezium by trapezium, over images."""
    total = 0.0
    for scores in curves:
        total += sum((a + b) / 2 for a, b in itertools.pairwise(scores))
    return total / len(curves)
