#include "twotower/train/list_loss.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using train::ListLoss;
using train::ListLossKind;

namespace {

constexpr ListLossKind kKinds[] = {ListLossKind::kSquared, ListLossKind::kHuber,  ListLossKind::kLogistic, ListLossKind::kOrdinal,
                                   ListLossKind::kBpr,     ListLossKind::kLambda, ListLossKind::kSoftmax};

ListLossKind any_kind() { return GENERATE(from_range(std::begin(kKinds), std::end(kKinds))); }

ListLoss loss_of(ListLossKind kind) {
  return {kind, 0.7, 3, kind == ListLossKind::kOrdinal ? std::vector<double>{-1, 0.3, 0.5} : std::vector<double>{}};
}

/// Lists with their scores, targets and weights.
struct Lists {
  std::vector<std::int64_t> offsets{0};
  std::vector<double> scores;
  std::vector<float> targets, weights;

  void add(const std::vector<double>& list_scores, const std::vector<float>& list_targets,
           const std::vector<float>& list_weights = {}) {
    scores.insert(scores.end(), list_scores.begin(), list_scores.end());
    targets.insert(targets.end(), list_targets.begin(), list_targets.end());
    weights.insert(weights.end(), list_weights.begin(), list_weights.end());
    weights.resize(scores.size(), 1.0F);
    offsets.push_back(std::ssize(scores));
  }
};

/// Lists of 0, 1 and more pairs, whose targets suit every kind; a list of equal targets and one of zeros among them.
Lists random_lists(Index count, bool weighted = true) {
  RandomStream random(5, Purpose::kTest, static_cast<std::uint64_t>(count));
  Lists made;
  for (Index list = 0; list < count; ++list) {
    const auto size = static_cast<std::size_t>(list % 7 == 6 ? 40 : list % 7);
    std::vector<double> scores(size);
    std::vector<float> targets(size), weights(size);
    for (std::size_t i = 0; i < size; ++i) {
      scores[i] = static_cast<double>(static_cast<float>(2 * random.normal()));
      targets[i] = static_cast<float>(list % 5 == 4 ? list % 2 : random.below(2));
      weights[i] = weighted ? static_cast<float>(random.uniform()) : 1.0F;
    }
    made.add(scores, targets, weights);
  }
  return made;
}

struct Result {
  double loss;
  std::vector<double> slopes;
};

template <class Scalar = double>
Result evaluate(const ListLoss& loss, const Lists& lists, int num_threads = 1) {
  const std::vector<Scalar> scores(lists.scores.begin(), lists.scores.end());
  std::vector<Scalar> slopes(scores.size(), std::numeric_limits<Scalar>::quiet_NaN());  // must be written
  const double value = loss.operator()<Scalar>(lists.offsets, scores, lists.targets, lists.weights, slopes, Threads(num_threads));
  return {value, std::vector<double>(slopes.begin(), slopes.end())};
}

// --- the oracle: each formula as it is written down -----------------------------------------------------------------------

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double naive_pair(const ListLoss& loss, double score, double target) {
  const double error = std::abs(score - target);
  if (loss.kind == ListLossKind::kSquared) return error * error / 2;
  if (loss.kind == ListLossKind::kHuber) return error <= loss.delta ? error * error / 2 : loss.delta * (error - loss.delta / 2);
  if (loss.kind == ListLossKind::kLogistic) return std::log(1 + std::exp(score)) - target * score;
  const auto level = static_cast<std::size_t>(target);
  const double above = level == loss.cuts.size() ? 1 : sigmoid(loss.cuts[level] - score);
  const double below = level == 0 ? 0 : sigmoid(loss.cuts[level - 1] - score);
  return -std::log(above - below);
}

/// NDCG of a list in this order, not yet divided by the best.
double naive_dcg(const ListLoss& loss, const std::vector<double>& targets_in_order) {
  double sum = 0;
  for (std::size_t rank = 0; rank < std::min(targets_in_order.size(), static_cast<std::size_t>(loss.cutoff)); ++rank)
    sum += (std::pow(2, targets_in_order[rank]) - 1) / std::log2(static_cast<double>(rank) + 2);
  return sum;
}

double naive_list(const ListLoss& loss, const std::vector<double>& scores, const std::vector<double>& targets) {
  if (loss.kind == ListLossKind::kSoftmax) {
    const double total = std::accumulate(targets.begin(), targets.end(), 0.0);
    double sum = 0, value = 0;
    for (const double score : scores) sum += std::exp(score);
    for (std::size_t i = 0; i < scores.size(); ++i)
      if (total > 0) value -= targets[i] / total * std::log(std::exp(scores[i]) / sum);
    return value;
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto i, auto j) { return scores[i] > scores[j]; });
  const auto dcg = [&](const std::vector<std::size_t>& of) {
    std::vector<double> in_order;
    for (const std::size_t i : of) in_order.push_back(targets[i]);
    return naive_dcg(loss, in_order);
  };
  auto best = targets;
  std::sort(best.begin(), best.end(), std::greater<>());
  double value = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (targets[i] <= targets[j]) continue;
      auto swapped = order;
      std::swap(*std::find(swapped.begin(), swapped.end(), i), *std::find(swapped.begin(), swapped.end(), j));
      const double change = std::abs(dcg(order) - dcg(swapped)) / naive_dcg(loss, best);
      value += (loss.kind == ListLossKind::kLambda ? change : 1) * std::log(1 + std::exp(scores[j] - scores[i]));
      ++pairs;
    }
  return pairs > 0 ? value / pairs : 0;
}

double naive_loss(const ListLoss& loss, const Lists& lists) {
  double value = 0, total = 0;
  for (std::size_t list = 0; list + 1 < lists.offsets.size(); ++list) {
    const auto begin = lists.offsets[list], end = lists.offsets[list + 1];
    double weight = 0;
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      weight += static_cast<double>(lists.weights[i]);
      if (loss.is_pointwise())
        value += static_cast<double>(lists.weights[i]) * naive_pair(loss, lists.scores[i], static_cast<double>(lists.targets[i]));
    }
    total += weight;
    if (!loss.is_pointwise() && end > begin)
      value += weight * naive_list(loss, {lists.scores.begin() + begin, lists.scores.begin() + end},
                                   {lists.targets.begin() + begin, lists.targets.begin() + end});
  }
  return total > 0 ? value / total : 0;
}

}  // namespace

TEST_CASE("ListLoss: every kind is its formula, and the slopes are differences of it") {
  const ListLossKind kind = any_kind();
  const Index count = GENERATE(1, 2, 7, 37);
  const ListLoss loss = loss_of(kind);
  INFO("kind " << static_cast<int>(kind) << ", lists " << count);
  Lists lists = random_lists(count);
  if (kind == ListLossKind::kOrdinal || kind == ListLossKind::kSoftmax || kind == ListLossKind::kLambda)
    for (std::size_t i = 0; i < lists.targets.size(); ++i) lists.targets[i] *= static_cast<float>(1 + i % 3);
  const Result got = evaluate(loss, lists);
  CHECK(got.loss == Approx(naive_loss(loss, lists)).epsilon(1e-12).margin(1e-14));
  constexpr double kStep = 1e-6;
  for (std::size_t i = 0; i < lists.scores.size(); ++i) {
    const double kept = lists.scores[i];
    lists.scores[i] = kept + kStep;
    const double above = naive_loss(loss, lists);
    lists.scores[i] = kept - kStep;
    const double below = naive_loss(loss, lists);
    lists.scores[i] = kept;
    CHECK(got.slopes[i] == Approx((above - below) / (2 * kStep)).epsilon(1e-6).margin(1e-8));
  }
}

TEST_CASE("ListLoss: float scores give what double scores give") {
  const ListLossKind kind = any_kind();
  const Lists lists = random_lists(37);
  const Result exact = evaluate(loss_of(kind), lists), single = evaluate<float>(loss_of(kind), lists);
  CHECK(single.loss == Approx(exact.loss).epsilon(1e-6));
  for (std::size_t i = 0; i < exact.slopes.size(); ++i) CHECK(single.slopes[i] == Approx(exact.slopes[i]).margin(1e-7));
}

TEST_CASE("ListLoss: done on paper") {
  Lists lists;
  lists.add({1, 4}, {2, 2}, {1, 3});  // errors -1 and 2
  CHECK(evaluate({ListLossKind::kSquared}, lists).loss == (1 * 0.5 + 3 * 2.0) / 4);
  CHECK(evaluate({ListLossKind::kSquared}, lists).slopes == std::vector<double>{-0.25, 1.5});
  CHECK(evaluate({ListLossKind::kHuber}, lists).loss == (1 * 0.5 + 3 * 1.5) / 4);
  CHECK(evaluate({ListLossKind::kHuber}, lists).slopes == std::vector<double>{-0.25, 0.75});
  Lists even;
  even.add({0, 0}, {1, 0});
  const double log2 = std::log(2.0);
  CHECK(evaluate({ListLossKind::kLogistic}, even).loss == Approx(log2));
  CHECK(evaluate({ListLossKind::kLogistic}, even).slopes == std::vector<double>{-0.25, 0.25});
  CHECK(evaluate({ListLossKind::kBpr}, even).loss == Approx(log2));
  CHECK(evaluate({ListLossKind::kBpr}, even).slopes == std::vector<double>{-0.5, 0.5});
  CHECK(evaluate({ListLossKind::kSoftmax}, even).slopes == std::vector<double>{-0.5, 0.5});
  // The right order has NDCG 1, the other 1 / log2(3): equal scores rank by their place.
  CHECK(evaluate({ListLossKind::kLambda}, even).loss == Approx(log2 * (1 - 1 / std::log2(3.0))));
  // Beyond the cutoff no order is better than another.
  Lists late;
  late.add({3, 2, 1}, {1, 0, 0});
  CHECK(evaluate({ListLossKind::kLambda, 1, 1}, late).slopes[2] != 0);
  Lists lower;
  lower.add({3, 2, 1}, {0, 1, 0});
  const Result result = evaluate({ListLossKind::kLambda, 1, 1}, lower);  // only the change with rank 0 counts
  CHECK(result.slopes[0] > 0);
  CHECK(result.slopes[1] < 0);
  CHECK(result.slopes[2] == 0);
}

TEST_CASE("ListLoss: a list that has nothing to compare costs nothing and moves nothing") {
  const ListLossKind kind = GENERATE(ListLossKind::kBpr, ListLossKind::kLambda, ListLossKind::kSoftmax);
  const auto [scores, targets] = GENERATE(std::pair<std::vector<double>, std::vector<float>>{{}, {}},
                                          std::pair<std::vector<double>, std::vector<float>>{{3, 1, 2}, {0, 0, 0}});
  Lists lists;
  lists.add(scores, targets);
  const Result result = evaluate({kind}, lists);
  CHECK(result.loss == 0);
  CHECK(std::all_of(result.slopes.begin(), result.slopes.end(), [](double slope) { return slope == 0; }));
  // A list of one, or of equal targets, has no pair to order; to softmax one is certain, and equals share.
  Lists one;
  one.add({5}, {1});
  CHECK(evaluate({kind}, one).loss == 0);
  CHECK(evaluate({kind}, one).slopes == std::vector<double>{0});
  Lists equal;
  equal.add({2, 2}, {1, 1});
  CHECK(evaluate({kind}, equal).slopes == std::vector<double>{0, 0});
}

TEST_CASE("ListLoss: an empty batch and weights of nothing but zeros are a loss of 0") {
  const ListLossKind kind = any_kind();
  CHECK(evaluate(loss_of(kind), {}).loss == 0);
  Lists lists;
  lists.add({3, -1}, {1, 0}, {0, 0});
  CHECK(evaluate(loss_of(kind), lists).loss == 0);
  CHECK(evaluate(loss_of(kind), lists).slopes == std::vector<double>{0, 0});
}

TEST_CASE("ListLoss: a weight counts as so many lists") {
  const ListLossKind kind = any_kind();
  Lists weighted, repeated;
  weighted.add({1, 0.5, -1}, {1, 0, 1}, {2, 2, 2});
  weighted.add({2, -1}, {0, 1}, {1, 1});
  for (int twice = 0; twice < 2; ++twice) repeated.add({1, 0.5, -1}, {1, 0, 1});
  repeated.add({2, -1}, {0, 1});
  CHECK(evaluate(loss_of(kind), weighted).loss == Approx(evaluate(loss_of(kind), repeated).loss).epsilon(1e-14));
}

TEST_CASE("ListLoss: extreme scores give finite losses and slopes") {
  const ListLossKind kind = GENERATE(ListLossKind::kHuber, ListLossKind::kLogistic, ListLossKind::kOrdinal, ListLossKind::kBpr,
                                     ListLossKind::kLambda, ListLossKind::kSoftmax);
  const double size = GENERATE(1e3, 1e6, 1e30);
  INFO("kind " << static_cast<int>(kind));
  for (const double sign : {1.0, -1.0})
    for (const float level : {0.0F, 1.0F}) {
      Lists lists;
      lists.add({sign * size, -sign * size, 0}, {level, 1 - level, level});
      for (const Result& result : {evaluate(loss_of(kind), lists), evaluate<float>(loss_of(kind), lists)}) {
        CHECK(std::isfinite(result.loss));
        CHECK(result.loss >= 0);
        for (const double slope : result.slopes) CHECK(std::abs(slope) <= 1);
      }
    }
}

TEST_CASE("ListLoss: the probabilities of ordinal levels sum to 1, and a sure level costs nothing") {
  const ListLoss loss = loss_of(ListLossKind::kOrdinal);
  for (const double score : {-40.0, -3.0, 0.0, 0.4, 2.0, 40.0}) {
    double total = 0;
    for (float level = 0; level <= 3; ++level) {
      Lists lists;
      lists.add({score}, {level});
      total += std::exp(-evaluate(loss, lists).loss);
    }
    CHECK(total == Approx(1).epsilon(1e-12));
  }
  Lists sure;
  sure.add({-100, 100}, {0, 3});
  CHECK(evaluate(loss, sure).loss == Approx(0).margin(1e-30));
}

TEST_CASE("ListLoss: the same bytes for 1, 2 and 7 threads") {
  const ListLossKind kind = any_kind();
  const Lists lists = random_lists(500);
  const Result wanted = evaluate<float>(loss_of(kind), lists);
  for (const int num_threads : {2, 7}) {
    const Result got = evaluate<float>(loss_of(kind), lists, num_threads);
    CHECK(got.loss == wanted.loss);
    CHECK(got.slopes == wanted.slopes);
  }
}

TEST_CASE("ListLoss: parts of the pairs make the whole of a pointwise loss") {
  const ListLossKind kind = any_kind();
  const ListLoss loss = loss_of(kind);
  if (!loss.is_pointwise()) return;
  const Lists lists = random_lists(90);
  const Result wanted = evaluate<double>(loss, lists);
  const std::vector<double> scores(lists.scores.begin(), lists.scores.end());
  const double total = std::accumulate(lists.weights.begin(), lists.weights.end(), 0.0);
  std::vector<double> slopes(scores.size());
  double sum = 0;
  for (std::size_t begin = 0; begin < scores.size(); begin += 7) {
    const std::size_t size = std::min<std::size_t>(7, scores.size() - begin);
    const std::span<const float> targets(lists.targets), weights(lists.weights);
    sum += loss.pointwise(total, std::span(scores).subspan(begin, size), targets.subspan(begin, size),
                          weights.subspan(begin, size), std::span(slopes).subspan(begin, size));
  }
  CHECK(sum == Approx(wanted.loss).epsilon(1e-12));
  CHECK(slopes == wanted.slopes);
}

TEST_CASE("ListLoss: refuses a specification without sense") {
  const auto check = [](const ListLoss& loss) { loss.check(); };
  for (const ListLossKind kind : kKinds) CHECK_NOTHROW(check(loss_of(kind)));
  CHECK_THROWS_WITH(check({ListLossKind::kHuber, 0}), "ListLoss: delta is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(check({ListLossKind::kLambda, 1, 0}), "ListLoss: cutoff is 0, but must be at least 1");
  CHECK_THROWS_WITH(check({ListLossKind::kOrdinal}), "ListLoss: number of cuts is 0, but must be at least 1");
  CHECK_THROWS_WITH(check({ListLossKind::kOrdinal, 1, 10, {0, 1, 1}}),
                    "ListLoss: cuts[2] is 1, but must be above cuts[1], which is 1");
  CHECK_THROWS_WITH(check({ListLossKind::kOrdinal, 1, 10, {std::nan("")}}),
                    "ListLoss: cuts[0] is nan, but must be a finite number");
}

TEST_CASE("ListLoss: refuses targets that its kind has no meaning for") {
  const auto check = [](ListLossKind kind, const std::vector<float>& targets) { loss_of(kind).check_targets("fit", targets); };
  for (const ListLossKind kind : kKinds) {
    CHECK_NOTHROW(check(kind, {0, 1, 1, 0}));
    CHECK_THROWS_WITH(check(kind, {0, std::nanf("")}), "fit: targets[1] is nan, but must be a finite number");
  }
  CHECK_NOTHROW(check(ListLossKind::kSquared, {-3.5F, 100}));
  CHECK_NOTHROW(check(ListLossKind::kBpr, {-3.5F, 100}));
  CHECK_NOTHROW(check(ListLossKind::kOrdinal, {0, 1, 2, 3}));
  CHECK_THROWS_WITH(check(ListLossKind::kLogistic, {1, 5}), "fit: targets[1] is 5, but must be in [0, 1] with the logistic loss");
  CHECK_THROWS_WITH(check(ListLossKind::kOrdinal, {4}), "fit: targets[0] is 4, but must be a level, a whole number in [0, 3]");
  CHECK_THROWS_WITH(check(ListLossKind::kOrdinal, {0, 0.5F}),
                    "fit: targets[1] is 0.5, but must be a level, a whole number in [0, 3]");
  CHECK_THROWS_WITH(check(ListLossKind::kOrdinal, {-1}), "fit: targets[0] is -1, but must be a level, a whole number in [0, 3]");
  CHECK_THROWS_WITH(check(ListLossKind::kSoftmax, {-1}), "fit: targets[0] is -1, but must not be negative");
  CHECK_THROWS_WITH(check(ListLossKind::kLambda, {-1}), "fit: targets[0] is -1, but must not be negative");
}

TEST_CASE("ListLoss: refuses sizes that do not fit") {
  Lists lists;
  lists.add({1, 2}, {1, 0});
  const auto with = [&](const std::function<void(Lists&)>& change) {
    Lists changed = lists;
    change(changed);
    return evaluate({}, changed);
  };
  CHECK_THROWS_WITH(with([](Lists& l) { l.targets.pop_back(); }),
                    "ListLoss: size of targets is 1, but must equal size of scores, which is 2");
  CHECK_THROWS_WITH(with([](Lists& l) { l.weights.pop_back(); }),
                    "ListLoss: size of weights is 1, but must equal size of scores, which is 2");
  CHECK_THROWS_WITH(with([](Lists& l) { l.offsets = {0, 3}; }), "ListLoss: offsets runs from 0 to 3, but must run from 0 to 2");
  std::vector<double> few(1);
  CHECK_THROWS_WITH(ListLoss{}.operator()<double>(lists.offsets, lists.scores, lists.targets, lists.weights, few, Threads()),
                    "ListLoss: size of dscores is 1, but must equal size of scores, which is 2");
}
