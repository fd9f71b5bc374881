"""What a comparison says is what scikit-learn, statsmodels, scipy and torchmetrics say too."""
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from catdog.evaluation.metrics import calibration_error, predictions_table, quality
from catdog.comparison.statistics import compare_pairs, gather_correct, holm, mcnemar_p_value


@pytest.fixture(scope='module', params=[2, 3], ids=['two classes', 'three classes'])
def answers(request):
    "Predictions of 300 photos: the table, the true classes and the probabilities"
    rng = np.random.default_rng(request.param)
    classes = ['cat', 'dog', 'fox'][:request.param]
    truth = rng.integers(0, len(classes), 300)
    logits = 2*np.eye(len(classes))[truth]+rng.normal(0, 1.5, (300, len(classes)))
    probabilities = np.exp(logits)/np.exp(logits).sum(1, keepdims=True)
    photos = pd.DataFrame(dict(sha256=[f'{i:064x}' for i in range(300)], label=np.array(classes)[truth]))
    return predictions_table(photos, probabilities, classes), truth, probabilities


def test_scores_are_scikit_learns(answers):
    table, truth, probabilities = answers
    found, guess = quality(table), probabilities.argmax(1)
    assert found['accuracy'] == metrics.accuracy_score(truth, guess)
    assert found['balanced_accuracy'] == pytest.approx(metrics.balanced_accuracy_score(truth, guess))
    assert found['f1'] == pytest.approx(metrics.f1_score(truth, guess, average='macro'))
    assert found['log_loss'] == pytest.approx(metrics.log_loss(truth, probabilities))
    auc = metrics.roc_auc_score(truth, probabilities[:, 1]) if probabilities.shape[1] == 2 else metrics.roc_auc_score(truth, probabilities, multi_class='ovr')
    assert found['roc_auc'] == pytest.approx(auc)
    assert found['confusion'] == metrics.confusion_matrix(truth, guess).tolist()


def test_calibration_error_is_torchmetrics(answers):
    from torchmetrics.functional.classification import multiclass_calibration_error
    table, truth, probabilities = answers
    theirs = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(truth), probabilities.shape[1], n_bins=15, norm='l1').item()
    assert calibration_error(table) == pytest.approx(theirs, abs=1e-6)


def test_mcnemar_and_holm_are_statsmodels():
    rng = np.random.default_rng(5)
    a, b = (pd.Series(rng.random(400) < p) for p in (.9, .85))
    table = pd.crosstab(a, b).to_numpy()
    assert mcnemar_p_value(a, b) == pytest.approx(mcnemar(table, exact=True).pvalue)
    p = [.01, .04, np.nan, .03]
    corrected = holm(p)
    assert np.isnan(corrected[2]) and corrected[[0, 1, 3]] == pytest.approx(multipletests([.01, .04, .03], method='holm')[1])


def test_photos_that_come_in_another_order_are_paired():
    rng = np.random.default_rng(6)
    names = [f'{i:03}' for i in range(200)]
    good, bad = (pd.Series(rng.random(200) < p, index=names) for p in (.95, .6))
    tested = lambda one: compare_pairs(gather_correct(dict(g=good, b=one), dict(g='good', b='bad'), dict(g=0, b=0)))
    straight, mixed = tested(bad), tested(bad.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(straight, mixed)


def test_with_many_seeds_the_difference_is_that_of_a_t_test_over_seeds():
    "Where photos hardly vary, the seeds decide, and Welch's t-test of the seeds' accuracies must agree"
    rng = np.random.default_rng(8)
    correct, setup, seed = {}, {}, {}
    for name, mean in (('a', .80), ('b', .78)):
        for s in range(6):
            k = round(20000*(mean+rng.normal(0, .02)))
            correct[f'{name}{s}'] = pd.Series(np.arange(20000) < k)
            setup[f'{name}{s}'], seed[f'{name}{s}'] = name, s
    row = compare_pairs(gather_correct(correct, setup, seed)).iloc[0]
    a, b = ([correct[f'{name}{s}'].mean() for s in range(6)] for name in 'ab')
    theirs = stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval()
    assert row.difference == pytest.approx(abs(np.mean(a)-np.mean(b)), abs=1e-9)
    assert row.p_value == pytest.approx(theirs.pvalue, abs=.05)
    assert row.high-row.low == pytest.approx(interval.high-interval.low, rel=.12)
