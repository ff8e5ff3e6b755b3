// Parts of a pair scorer's meeting that read some columns only: product and dot before the split, the sum behind it.
#include <algorithm>
#include <functional>

#include "support/catch.hpp"
#include "support/small_towers.hpp"
#include "twotower/model/pair_scorer.hpp"

namespace twotower::model {
namespace {

constexpr Index kUsers = 5, kItems = 7, kWidth = 6, kSplit = 2, kHidden = 4;

/// Lookups of kWidth columns that end in [the first kSplit, a Dense of the others].
TowerSpec halved_tower(Index table) {
  TowerSpec spec = test::lookup_tower(table, kWidth);
  const nn::Sequential kept(kWidth, {nn::Slice{kWidth, 0, kSplit}});
  const nn::Sequential half(kWidth, {nn::Slice{kWidth, kSplit, kWidth - kSplit}, nn::Dense{kWidth - kSplit, kHidden}});
  spec.layers = nn::Sequential(kWidth, {nn::Parallel{kept, half}});
  return spec;
}

PairScorerSpec neumf_spec() {
  const Index width = kSplit + kHidden;
  const nn::Sequential product(width, {nn::Slice{width, 0, kSplit}});
  const nn::Sequential network(width, {nn::Slice{width, kSplit, kHidden}, nn::Gelu{kHidden}, nn::Dense{kHidden, 3}});
  PairScorerSpec spec{halved_tower(0),
                      halved_tower(1),
                      std::nullopt,
                      std::nullopt,
                      {false, true, false, false, true, kSplit},
                      nn::Sequential(width, {nn::Parallel{product, network}, nn::Dense{kSplit + 3, 1}}),
                      {}};
  spec.tables = {{"users", kUsers, kWidth}, {"items", kItems, kWidth}};
  spec.deviation = 0.5;
  spec.seed = 3;
  return spec;
}

/// The same with the products added as they are: <the first kSplit columns> + a network over the rest.
PairScorerSpec dot_spec() {
  const Index width = 1 + kHidden;
  const nn::Sequential dot(width, {nn::Slice{width, 0, 1}});
  const nn::Sequential network(width, {nn::Slice{width, 1, kHidden}, nn::Gelu{kHidden}, nn::Dense{kHidden, 1}});
  PairScorerSpec spec = neumf_spec();
  spec.meeting = {false, false, true, false, true, kSplit};
  spec.head = nn::Sequential(width, {nn::Parallel{dot, network}, nn::RowSum{2}});
  return spec;
}

struct Batch {
  data::FeatureTable users = test::mixed_features(kUsers, 1), items = test::mixed_features(kItems, 2);
  std::vector<Row> user_rows{0, 2, 3}, item_rows{6, 1, 4, 0};
  std::vector<Row> user_of_pair{0, 0, 0, 1, 2, 2}, item_of_pair{0, 2, 3, 0, 1, 2};
  nn::Pass pass{true, 1, 0, 0};

  PairRows rows() const { return {user_rows, item_rows, user_of_pair, item_of_pair, {}}; }
};

/// Weighted sum of the scores: its gradient by a score is that score's weight.
double objective(const PairScorer<double>& model, const Batch& batch, PairScratch<double>& scratch) {
  model.prepare(batch.users, batch.items, batch.rows(), batch.pass, scratch);
  model.forward(batch.users, batch.items, batch.rows(), scratch, batch.pass, Threads(1));
  double sum = 0;
  for (std::size_t pair = 0; pair < scratch.scores.size(); ++pair) {
    scratch.dscores[pair] = 0.3 + 0.2 * static_cast<double>(pair);
    sum += scratch.dscores[pair] * scratch.scores[pair];
  }
  return sum;
}

}  // namespace

TEST_CASE("a sum of halves is a Dense of both vectors", "[meeting]") {
  const PairScorer<double> model(neumf_spec());
  const Batch batch;
  PairScratch<double> scratch;
  objective(model, batch, scratch);
  const auto& parameters = model.parameters();
  const Index half = (kWidth - kSplit) * kHidden + kHidden;
  const auto dense = [&](const double* at, const auto& x, Index out) {
    const Eigen::Map<const Matrix<double>> w(at, x.cols(), out);
    const Eigen::Map<const RowVector<double>> b(at + x.cols() * out, out);
    return RowVector<double>(x * w + b);
  };
  for (std::size_t pair = 0; pair < batch.user_of_pair.size(); ++pair) {
    const RowVector<double> u =
        parameters.tables[0].values.row(batch.user_rows[static_cast<std::size_t>(batch.user_of_pair[pair])]);
    const RowVector<double> v =
        parameters.tables[1].values.row(batch.item_rows[static_cast<std::size_t>(batch.item_of_pair[pair])]);
    const double* at = parameters.arena.data();
    RowVector<double> hidden = dense(at, RowVector<double>(u.tail(kWidth - kSplit)), kHidden);
    hidden += dense(at + half, RowVector<double>(v.tail(kWidth - kSplit)), kHidden);
    hidden = hidden.unaryExpr([](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }).eval();
    RowVector<double> joined(kSplit + 3);
    joined << u.head(kSplit).cwiseProduct(v.head(kSplit)), dense(at + 2 * half, hidden, 3);
    CHECK(scratch.scores[pair] ==
          Approx(dense(at + 2 * half + kHidden * 3 + 3, joined, 1)(0)).epsilon(2e-3));  // Gelu's tanh form
  }
}

TEST_CASE("a dot before a split reads what the product reads", "[meeting]") {
  const PairScorer<double> model(dot_spec());
  const Batch batch;
  PairScratch<double> scratch;
  objective(model, batch, scratch);
  const auto& parameters = model.parameters();
  // Without the network's last layer, the end of the arena, there is nothing but the dot.
  PairScorer<double> bare(dot_spec());
  bare.parameters().arena = parameters.arena;
  std::fill(bare.parameters().arena.end() - (kHidden + 1), bare.parameters().arena.end(), 0.0);
  objective(bare, batch, scratch);
  for (std::size_t pair = 0; pair < batch.user_of_pair.size(); ++pair) {
    const auto u = parameters.tables[0].values.row(batch.user_rows[static_cast<std::size_t>(batch.user_of_pair[pair])]);
    const auto v = parameters.tables[1].values.row(batch.item_rows[static_cast<std::size_t>(batch.item_of_pair[pair])]);
    CHECK(scratch.scores[pair] == Approx(u.head(kSplit).dot(v.head(kSplit))).epsilon(1e-12));
  }
}

TEST_CASE("gradients of a meeting with a split are those of finite differences", "[meeting]") {
  PairScorer<double> model(GENERATE(false, true) ? dot_spec() : neumf_spec());
  const Batch batch;
  PairScratch<double> scratch, other;
  objective(model, batch, scratch);
  std::vector<double> darena(model.parameters().arena.size(), 0.0);
  model.backward(batch.users, batch.items, batch.rows(), scratch, darena, 0, 0, batch.pass, Threads(2));
  const auto slope = [&](double& parameter) {
    const double kept = parameter, step = 1e-6;
    parameter = kept + step;
    const double above = objective(model, batch, other);
    parameter = kept - step;
    const double below = objective(model, batch, other);
    parameter = kept;
    return (above - below) / (2 * step);
  };
  for (std::size_t k = 0; k < darena.size(); ++k) CHECK(darena[k] == Approx(slope(model.parameters().arena[k])).margin(1e-8));
  for (Index table = 0; table < 2; ++table) {
    std::vector<nn::RowGradients<double>::Source> sources;
    model.add_sources(table, scratch, sources);
    auto& values = model.parameters().tables[static_cast<std::size_t>(table)].values;
    nn::RowGradients<double> gradients;
    gradients.sort(sources, values.rows());
    RowVector<double> buffer(kWidth);
    for (Index place = 0; place < std::ssize(gradients.rows()); ++place) {
      const double* gradient = gradients.of(place, buffer.data());
      for (Index k = 0; k < kWidth; ++k)
        CHECK(gradient[k] == Approx(slope(values(gradients.rows()[static_cast<std::size_t>(place)], k))).margin(1e-8));
    }
  }
}

TEST_CASE("vectors that leave the model score as in training", "[meeting]") {
  const PairScorer<double> model(GENERATE(false, true) ? dot_spec() : neumf_spec());
  const Batch batch;
  PairScratch<double> scratch;
  objective(model, batch, scratch);
  Matrix<double> users(3, model.user_vector_width()), items(4, model.item_vector_width());
  model.user_vectors(batch.users, batch.user_rows, users, Threads(1));
  model.item_vectors(batch.items, batch.item_rows, items, Threads(1));
  std::vector<double> scores(batch.user_of_pair.size());
  model.score(users, items, batch.user_of_pair, batch.item_of_pair, {}, scores, Threads(1));
  for (std::size_t pair = 0; pair < scores.size(); ++pair) CHECK(scores[pair] == Approx(scratch.scores[pair]).epsilon(1e-12));
}

TEST_CASE("a meeting says what does not fit", "[meeting]") {
  CHECK(Meeting{false, true, false, false, true, 2}.width(6, 6) == 6);
  CHECK(Meeting{false, true, false, false, true, 0}.width(6, 6) == 12);
  CHECK(Meeting{false, false, true, false, true, 2}.width(6, 6) == 5);
  CHECK(Meeting{true, false, true, true, true, 0}.width(6, 6) == 20);
  CHECK_THROWS_WITH((Meeting{false, false, false, false, true, 0}.width(5, 6)),
                    "PairScorer: out_width of the user tower is 5, but must equal out_width of the item tower, which is 6");
  CHECK_THROWS_WITH((Meeting{false, true, false, false, true, 6}.width(6, 6)),
                    "PairScorer: split of the meeting is 6, but must be in [1, 5]");
  CHECK_THROWS_WITH((Meeting{false, false, false, false, false, 0}.width(6, 6)),
                    "PairScorer: the meeting has no part; ask for vectors, product, dot, given or sum");
}

}  // namespace twotower::model
