"""What a comparison says is what scikit-learn, statsmodels, scipy and torchmetrics say too."""
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize, stats
from sklearn import metrics
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from catdog.evaluation.metrics import calibration_error, predictions_table, quality, wilson_interval
from catdog.comparison.statistics import Tested, accuracy_intervals, compare_pairs, difference_bound, expect_of_best
from catdog.comparison.statistics import _share_below, gather_correct, holm, mcnemar_p_value, spread, tango_p_value

Tested.__test__ = False      # its name begins as that of a class of tests does


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
    scores, how = (probabilities[:, 1], {}) if probabilities.shape[1] == 2 else (probabilities, dict(multi_class='ovr'))
    assert found['roc_auc'] == pytest.approx(metrics.roc_auc_score(truth, scores, **how))
    assert found['confusion'] == metrics.confusion_matrix(truth, guess).tolist()


def test_calibration_error_is_torchmetrics(answers):
    from torchmetrics.functional.classification import multiclass_calibration_error
    table, truth, probabilities = answers
    how = dict(num_classes=probabilities.shape[1], n_bins=15, norm='l1')
    theirs = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(truth), **how).item()
    assert calibration_error(table) == pytest.approx(theirs, abs=1e-6)


def test_mcnemar_and_holm_are_statsmodels():
    rng = np.random.default_rng(5)
    a, b = (rng.random(400) < p for p in (.9, .85))
    table = pd.crosstab(a, b).to_numpy()
    assert mcnemar_p_value((a & ~b).sum(), (~a & b).sum()) == pytest.approx(mcnemar(table, exact=True).pvalue)
    p = [.01, .04, np.nan, .03]
    corrected = holm(p)
    assert np.isnan(corrected[2]) and corrected[[0, 1, 3]] == pytest.approx(multipletests([.01, .04, .03], method='holm')[1])
    many = rng.random(50)**3
    assert holm(many) == pytest.approx(multipletests(many, method='holm')[1])


def test_wilson_is_scipys():
    for correct, total in ((0, 7), (7, 7), (96, 100), (2497, 2500)):
        theirs = stats.binomtest(correct, total).proportion_ci(method='wilson')
        assert wilson_interval(correct, total) == pytest.approx((theirs.low, theirs.high))


def likelihood_ratio_root(wins, losses, photos, margin):
    "Tango's variance by maximising the likelihood of the losses under the margin, with scipy's optimiser"
    def loss(lost): return -(wins*np.log(lost+margin)+losses*np.log(lost)+(photos-wins-losses)*np.log(1-2*lost-margin))
    low, high = max(0, -margin)+1e-12, (1-margin)/2-1e-12
    lost = optimize.minimize_scalar(loss, bounds=(low, high), method='bounded', options=dict(xatol=1e-13)).x
    return ((wins-losses)/photos-margin)/np.sqrt((2*lost+margin*(1-margin))/photos)


@pytest.mark.parametrize('counts', [(12, 5, 200), (1, 7, 80), (0, 3, 500), (9, 9, 60)])
def test_bounds_are_where_tangos_test_turns(counts):
    "The bound of the product is the margin at which an independent form of the test reaches its quantile"
    wins, losses, photos = counts
    correct = {'a': np.ones(photos), 'b': np.ones(photos)}
    correct['b'][:wins] = 0
    correct['a'][wins:wins+losses] = 0
    named = {name: name for name in correct}
    tested = gather_correct({k: pd.Series(v) for k, v in correct.items()}, named, dict.fromkeys(named, 0))
    pairs = compare_pairs(tested)
    turned = pairs['first'][0] == 'b'
    if turned: wins, losses = losses, wins
    for upper, sign in ((True, -1), (False, 1)):
        bound = difference_bound(pairs, .025, upper)[0]
        assert likelihood_ratio_root(wins, losses, photos, bound) == pytest.approx(sign*1.96, abs=.02)


@pytest.mark.parametrize('photos', [60, 250, 1000])
@pytest.mark.parametrize('margin', [.01, .03])
def test_tango_is_wrong_at_the_margin_as_often_as_it_says(photos, margin):
    "Exactly, over all counts: networks that lie a margin apart are called closer in about 5% of cases"
    worst = 0
    for disagreement in (margin*1.001, 2*margin+.01, .15):
        share = [(disagreement+margin)/2, (disagreement-margin)/2]
        wins, losses = np.meshgrid(np.arange(photos+1), np.arange(photos+1), indexing='ij')
        kept = (wins+losses <= photos) & (wins+losses <= photos*disagreement+8*np.sqrt(photos*disagreement)+10)
        wins, losses = wins[kept], losses[kept]
        chance = stats.multinomial.pmf(np.c_[wins, losses, photos-wins-losses], photos, [*share, 1-disagreement])
        rejected = 1-tango_p_value(wins, losses, photos, margin) < .05
        worst = max(worst, chance[rejected].sum())
    assert worst < .062


def test_photos_that_come_in_another_order_are_paired():
    rng = np.random.default_rng(6)
    names = [f'{i:03}' for i in range(200)]
    good, bad = (pd.Series(rng.random(200) < p, index=names) for p in (.95, .6))
    def tested(one): return compare_pairs(gather_correct(dict(g=good, b=one), dict(g='good', b='bad'), dict(g=0, b=0)))
    straight, mixed = tested(bad), tested(bad.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(straight, mixed)


def test_with_many_seeds_the_difference_is_that_of_a_t_test_over_seeds():
    "Where photos hardly vary, the seeds decide, and the t-test of the seeds' accuracies must agree"
    rng = np.random.default_rng(8)
    correct, setup, seed = {}, {}, {}
    for name, mean in (('a', .80), ('b', .78)):
        for s in range(6):
            k = round(20000*(mean+rng.normal(0, .02)))
            correct[f'{name}{s}'] = pd.Series(np.arange(20000) < k)
            setup[f'{name}{s}'], seed[f'{name}{s}'] = name, s
    row = compare_pairs(gather_correct(correct, setup, seed)).iloc[0]
    a, b = ([correct[f'{name}{s}'].mean() for s in range(6)] for name in 'ab')
    theirs = stats.ttest_ind(a, b)
    interval = theirs.confidence_interval()
    assert row.difference == pytest.approx(abs(np.mean(a)-np.mean(b)), abs=1e-9)
    assert row.p_value == pytest.approx(theirs.pvalue, abs=.05)
    assert row.high-row.low == pytest.approx(interval.high-interval.low, rel=.12)


def test_variance_of_photos_and_seeds_is_a_mixed_models():
    "Crossed random effects of photo and seed, fitted by statsmodels, give the variance of the mean"
    rng = np.random.default_rng(9)
    photos, seeds = 60, 5
    values = .8+rng.normal(0, .3, (photos, 1))+rng.normal(0, .08, (1, seeds))+rng.normal(0, .2, (photos, seeds))
    one = Tested(pd.DataFrame(values), pd.Series('a', range(seeds)), pd.Series(range(seeds)), metric='log_loss')
    table = pd.DataFrame(dict(y=values.ravel(), photo=np.repeat(np.arange(photos), seeds), seed=np.tile(np.arange(seeds), photos), all=1))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        parts = dict(photo='0+C(photo)', seed='0+C(seed)')
        model = MixedLM.from_formula('y ~ 1', table, groups='all', re_formula='0', vc_formula=parts).fit()
    theirs = dict(zip(model.model.exog_vc.names, model.vcomp))
    variance = theirs['photo']/photos+theirs['seed']/seeds+model.scale/photos/seeds
    assert spread(one).variance[0, 0] == pytest.approx(variance, rel=.03)


@pytest.mark.parametrize('networks', [2, 8])
def test_the_best_of_equals_is_as_good_as_its_interval_says(networks):
    "Equal networks on shared photos: the interval of the best holds the truth, and what is expected is near it"
    def one(run):
        rng = np.random.default_rng((networks, run))
        skill = rng.normal(0, .8, (400, 1))+rng.normal(0, .6, (400, networks))+1.4
        right = pd.DataFrame(skill > 0).astype(float)
        named = pd.Series({c: c for c in right})
        best = expect_of_best(Tested(right, named, named*0))
        return best['low'] <= stats.norm.cdf(1.4) <= best['high'], best['expected'], best['accuracy']
    held, expected, seen = np.mean([one(i) for i in range(200)], axis=0)
    truth = stats.norm.cdf(1.4)
    assert held >= .95-2*.0155 and abs(expected-truth) < .4*(seen-truth)+.001


def test_one_setup_has_wilsons_interval():
    right = pd.Series(np.arange(300) >= 4)
    tested = gather_correct(dict(a=right), dict(a='a'), dict(a=0))
    best = expect_of_best(tested)
    assert accuracy_intervals(tested).loc['a'].tolist() == pytest.approx(wilson_interval(296, 300), abs=.002)
    assert (best['low'], best['high']) == pytest.approx(wilson_interval(296, 300), abs=.002)


def test_the_winners_distribution_is_scipys_truncated_normal():
    "What `expect_of_best` inverts: a normal variable that is known to lie above a threshold and within the joint bounds"
    rng = np.random.default_rng(17)
    for _ in range(200):
        mean, error = rng.normal(0, 1), rng.uniform(.2, 2)
        low, value, high = np.sort(rng.normal(mean, 1.5*error, 3))
        theirs = stats.truncnorm.cdf(value, (low-mean)/error, (high-mean)/error, mean, error)
        assert _share_below(value, mean, error, low, high) == pytest.approx(theirs, abs=1e-7)
