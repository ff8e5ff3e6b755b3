#include "twotower/model/pair_scorer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/pair_models.hpp"

using namespace twotower;
using model::Meeting;
using model::PairScorer;
using model::PairScorerSpec;
using model::PairScratch;
using test::lookup_tower;
using test::pair_model;
using test::PairData;
using test::PairShape;
using test::same_bits;

namespace {

constexpr PairShape kShapes[] = {PairShape::kDot, PairShape::kDeep, PairShape::kNeuMF, PairShape::kFactors, PairShape::kContext};
PairShape any_shape() { return GENERATE(from_range(std::begin(kShapes), std::end(kShapes))); }

constexpr double kShrink = 0.7, kBiasShrink = 0.3;

template <class Scalar>
struct Gradients {
  std::vector<Scalar> scores, arena;
  std::vector<Matrix<Scalar>> tables;
};

/// Weights of the scores in the sum whose gradient is looked at.
template <class Scalar>
std::vector<Scalar> slopes_of(Index pairs) {
  const auto values = test::random_matrix<Scalar>(1, pairs, 8);
  return {values.data(), values.data() + pairs};
}

/// One forward and, in training, backward of sum of slope times score, and of the shrinkage; `by_blocks`: both at once for each
/// block of pairs.
template <class Scalar>
Gradients<Scalar> gradients_of(const PairScorer<Scalar>& scorer, const PairData& data, PairShape shape, const nn::Pass& pass,
                               int num_threads = 1, double shrink = kShrink, double bias_shrink = kBiasShrink,
                               bool by_blocks = false) {
  const Threads threads(num_threads);
  const auto users = data.user_side(shape);
  const model::SideData items(data.items);
  const auto rows = data.rows(shape);
  PairScratch<Scalar> scratch;
  Gradients<Scalar> made;
  made.arena.assign(scorer.parameters().arena.size(), 1);  // backward must add
  scorer.prepare(users, items, rows, pass, scratch);
  const auto slopes = slopes_of<Scalar>(std::ssize(data.user_of_pair));
  if (by_blocks) {
    scorer.forward_towers(users, items, rows, scratch, pass, threads);
    scorer.backward_head(rows, scratch, made.arena, shrink, bias_shrink, pass, threads, [&](Index begin, Index end) {
      std::copy(slopes.begin() + begin, slopes.begin() + end, scratch.dscores.begin() + begin);
    });
    scorer.backward_towers(users, items, rows, scratch, made.arena, pass, threads);
    made.scores = scratch.scores;
  } else {
    scorer.forward(users, items, rows, scratch, pass, threads);
    made.scores = scratch.scores;
    if (!pass.training) return made;
    scratch.dscores = slopes;
    scorer.backward(users, items, rows, scratch, made.arena, shrink, bias_shrink, pass, threads);
  }
  for (Scalar& value : made.arena) value -= 1;
  for (std::size_t table = 0; table < scorer.parameters().tables.size(); ++table) {
    const auto& values = scorer.parameters().tables[table].values;
    std::vector<typename nn::RowGradients<Scalar>::Source> sources;
    scorer.add_sources(static_cast<Index>(table), scratch, sources);
    nn::RowGradients<Scalar> sums;
    sums.sort(sources, values.rows());
    Matrix<Scalar> dense = Matrix<Scalar>::Zero(values.rows(), values.cols());
    Matrix<Scalar> found(std::ssize(sums.rows()), values.cols());
    if (found.size() > 0) sums.sum_all(Threads(1), found);
    for (Index k = 0; k < found.rows(); ++k) dense.row(sums.rows()[static_cast<std::size_t>(k)]) = found.row(k);
    made.tables.push_back(dense);
  }
  return made;
}

/// What gradients_of differentiates, from scores and vectors.
double objective(const PairScorer<double>& scorer, const PairData& data, PairShape shape, const nn::Pass& pass) {
  const auto users = data.user_side(shape);
  const model::SideData items(data.items);
  const auto rows = data.rows(shape);
  PairScratch<double> scratch;
  scorer.prepare(users, items, rows, pass, scratch);
  scorer.forward(users, items, rows, scratch, pass, Threads());
  const auto pairs = data.user_of_pair.size();
  const auto slopes = slopes_of<double>(static_cast<Index>(pairs));
  double sum = 0;
  const auto squares = [](const model::TowerScratch<double>& side, Row row) {
    return side.y.size() > 0 ? side.y.row(row).squaredNorm() : 0;
  };
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    const Row user = data.user_of_pair[pair], item = data.item_of_pair[pair];
    sum += slopes[pair] * scratch.scores[pair];
    sum += kShrink / 2 / static_cast<double>(pairs) * (squares(scratch.user, user) + squares(scratch.item, item));
    sum += kBiasShrink / 2 / static_cast<double>(pairs) * (squares(scratch.user_bias, user) + squares(scratch.item_bias, item));
  }
  return sum;
}

/// Random values in every parameter, those that start at 0 too.
template <class Scalar>
PairScorer<Scalar> random_model(PairShape shape) {
  PairScorer<Scalar> scorer(pair_model(shape));
  auto& parameters = scorer.parameters();
  const auto arena = test::random_matrix<Scalar>(1, std::ssize(parameters.arena), 5);
  std::copy_n(arena.data(), arena.size(), parameters.arena.begin());
  std::uint64_t number = 6;
  for (auto& table : parameters.tables)
    table.values = test::random_matrix<Scalar>(table.values.rows(), table.values.cols(), number++);
  return scorer;
}

template <class Scalar>
struct Vectors {
  Matrix<Scalar> users, items;
};

template <class Scalar>
Vectors<Scalar> vectors_of(const PairScorer<Scalar>& scorer, const PairData& data, PairShape shape, int num_threads = 1) {
  Vectors<Scalar> made{Matrix<Scalar>(std::ssize(data.user_rows), scorer.user_vector_width()),
                       Matrix<Scalar>(std::ssize(data.item_rows), scorer.item_vector_width())};
  const Threads threads(num_threads);
  scorer.user_vectors(data.user_side(shape), data.rows_of_users(shape), made.users, threads);
  scorer.item_vectors(data.items, data.item_rows, made.items, threads);
  return made;
}

template <class Scalar>
std::vector<Scalar> scores_of(const PairScorer<Scalar>& scorer, const Vectors<Scalar>& vectors, std::span<const Row> users,
                              std::span<const Row> items, std::span<const float> given, int num_threads = 1) {
  std::vector<Scalar> scores(users.size());
  scorer.score(vectors.users, vectors.items, users, items, scorer.meeting().given ? given : std::span<const float>{}, scores,
               Threads(num_threads));
  return scores;
}

}  // namespace

TEST_CASE("PairScorer: gradients of every table and the arena agree with differences, shrinkage counted") {
  const PairShape shape = any_shape();
  const auto [users, pairs] =
      GENERATE(std::pair<Index, Index>{1, 1}, std::pair<Index, Index>{6, 11}, std::pair<Index, Index>{20, 140});
  INFO("shape " << static_cast<int>(shape) << ", pairs " << pairs);
  PairScorer<double> scorer = random_model<double>(shape);
  const PairData data(users, pairs);
  const nn::Pass pass{true, 5, 2, 0};
  scorer.check(data.user_side(shape), data.items);
  const auto gradients = gradients_of(scorer, data, shape, pass);
  constexpr double kStep = 1e-6;
  double worst = 0, largest = 1;
  const auto compare = [&](double& value, double analytic) {
    const double kept = value;
    value = kept + kStep;
    const double above = objective(scorer, data, shape, pass);
    value = kept - kStep;
    const double below = objective(scorer, data, shape, pass);
    value = kept;
    const double numeric = (above - below) / (2 * kStep);
    largest = std::max(largest, std::abs(numeric));
    worst = std::max(worst, std::abs(numeric - analytic));
  };
  auto& parameters = scorer.parameters();
  for (std::size_t k = 0; k < parameters.arena.size(); ++k) compare(parameters.arena[k], gradients.arena[k]);
  for (std::size_t table = 0; table < parameters.tables.size(); ++table)
    for (Index k = 0; k < parameters.tables[table].values.size(); ++k)
      compare(parameters.tables[table].values.data()[k], gradients.tables[table].data()[k]);
  CHECK(worst / largest < 1e-7);
  double touched = 0;
  for (const auto& table : gradients.tables) touched += table.cwiseAbs().sum();
  CHECK(touched > 0.01);
}

TEST_CASE("PairScorer: a dot product done on paper") {
  // u = (1, 2) with bias .5, v = (3, -1) with bias .25; <u, v> = 1, score = 10 + .5 + .25 + 1. Slope 2 and shrink 1:
  // du = 2 v + u, dv = 2 u + v, and of the biases 2 + .1 b.
  data::FeatureTable one(1);
  one.add_codes(std::vector<Row>{0}, 1);
  PairScorerSpec spec{lookup_tower(0, 2, 0),
                      lookup_tower(1, 2, 0),
                      lookup_tower(2, 1, 0),
                      lookup_tower(3, 1, 0),
                      {false, false, true, false},
                      nn::Sequential(1),
                      {{"u", 1, 2}, {"v", 1, 2}, {"b", 1, 1}, {"c", 1, 1}},
                      10};
  PairScorer<double> scorer(spec);
  auto& tables = scorer.parameters().tables;
  tables[0].values << 1, 2;
  tables[1].values << 3, -1;
  tables[2].values << 0.5;
  tables[3].values << 0.25;
  const std::vector<Row> zero{0};
  const model::PairRows rows{zero, zero, zero, zero, {}};
  PairScratch<double> scratch;
  std::vector<double> darena;
  const nn::Pass pass{true};
  scorer.prepare(one, one, rows, pass, scratch);
  scorer.forward(one, one, rows, scratch, pass, Threads());
  CHECK(scratch.scores == std::vector<double>{11.75});
  scratch.dscores = {2};
  scorer.backward(one, one, rows, scratch, darena, 1, 0.1, pass, Threads());
  CHECK(scratch.user.dy == (Matrix<double>(1, 2) << 7, 0).finished());
  CHECK(scratch.item.dy == (Matrix<double>(1, 2) << 5, 3).finished());
  CHECK(scratch.user_bias.dy(0, 0) == Approx(2.05));
  CHECK(scratch.item_bias.dy(0, 0) == Approx(2.025));
}

TEST_CASE("PairScorer: what the head reads is vectors, product, dot and the given number, in this order") {
  data::FeatureTable one(1);
  one.add_codes(std::vector<Row>{0}, 1);
  const auto joined = [&](Meeting meeting, Index width) {
    // The head's weights tell its inputs apart: 1, 10, 100 ...
    PairScorerSpec spec{
        lookup_tower(0, 2, 0),     lookup_tower(1, 2, 0), {}, {}, meeting, nn::Sequential(width, {nn::Dense{width, 1}}),
        {{"u", 1, 2}, {"v", 1, 2}}};
    PairScorer<double> scorer(spec);
    scorer.parameters().tables[0].values << 2, 3;
    scorer.parameters().tables[1].values << 1, 2;
    auto& arena = scorer.parameters().arena;
    for (Index k = 0; k < width; ++k) arena[static_cast<std::size_t>(scorer.head_arena() + k)] = std::pow(10, k);
    const std::vector<Row> zero{0};
    const std::vector<float> given(meeting.given ? 1 : 0, 9.0F);
    const Matrix<double> u = (Matrix<double>(1, 3) << 2, 3, 0).finished(), v = (Matrix<double>(1, 3) << 1, 2, 0).finished();
    std::vector<double> score(1);
    scorer.score(u, v, zero, zero, given, score, Threads());
    return score[0];
  };
  CHECK(joined({true, false, false, false}, 4) == 2132);  // from the left: 2, 3, 1, 2
  CHECK(joined({false, true, false, false}, 2) == 62);
  CHECK(joined({false, false, true, false}, 1) == 8);
  CHECK(joined({false, false, false, true}, 1) == 9);
  CHECK(joined({true, true, true, true}, 8) == 98622132);
  CHECK(Meeting{true, true, true, true}.width(2, 2) == 8);
  CHECK(Meeting{true, false, false, true}.width(5, 3) == 9);
}

TEST_CASE("PairScorer: users without a pair get no gradient but nothing else changes") {
  PairData data(6, 11);
  data.user_of_pair.assign(11, 4);
  const PairScorer<double> scorer = random_model<double>(PairShape::kNeuMF);
  const auto gradients = gradients_of(scorer, data, PairShape::kNeuMF, {true});
  for (Row user = 0; user < test::kPairUsers; ++user)
    CHECK(gradients.tables[0].row(user).isZero(0) == (user != data.user_rows[4]));
}

TEST_CASE("PairScorer: no pairs are nothing to do") {
  const PairShape shape = any_shape();
  const auto gradients = gradients_of(random_model<float>(shape), PairData(3, 0), shape, {true});
  CHECK(std::all_of(gradients.arena.begin(), gradients.arena.end(), [](float g) { return g == 0; }));
  for (const auto& table : gradients.tables) CHECK(table.isZero(0));
}

TEST_CASE("PairScorer: scores and gradients have the same bits for 1, 2 and 7 threads") {
  const PairShape shape = any_shape();
  const auto [users, pairs] = GENERATE(std::pair<Index, Index>{40, 129}, std::pair<Index, Index>{300, 1500});
  const PairScorer<float> scorer = random_model<float>(shape);
  const PairData data(users, pairs);
  const nn::Pass pass{true, 5, 2, 0};
  const auto wanted = gradients_of(scorer, data, shape, pass);
  const auto vectors = vectors_of(scorer, data, shape);
  const auto scores = scores_of(scorer, vectors, data.user_of_pair, data.item_of_pair, data.given);
  for (const int num_threads : {2, 7}) {
    const auto got = gradients_of(scorer, data, shape, pass, num_threads);
    CHECK(got.scores == wanted.scores);
    CHECK(got.arena == wanted.arena);
    for (std::size_t table = 0; table < wanted.tables.size(); ++table) CHECK(same_bits(got.tables[table], wanted.tables[table]));
    CHECK(same_bits(vectors_of(scorer, data, shape, num_threads).users, vectors.users));
    CHECK(scores_of(scorer, vectors, data.user_of_pair, data.item_of_pair, data.given, num_threads) == scores);
  }
}

TEST_CASE("PairScorer: block by block, scores and gradients are the bits of a head that runs twice") {
  const PairShape shape = any_shape();
  const Index pairs = GENERATE(0, 1, 127, 128, 129, 300);
  const PairScorer<float> scorer = random_model<float>(shape);
  const PairData data(20, pairs);
  const nn::Pass pass{true, 5, 2, 0};
  const auto wanted = gradients_of(scorer, data, shape, pass);
  for (const int num_threads : {1, 7}) {
    const auto got = gradients_of(scorer, data, shape, pass, num_threads, kShrink, kBiasShrink, true);
    CHECK(got.scores == wanted.scores);
    CHECK(got.arena == wanted.arena);
    for (std::size_t table = 0; table < wanted.tables.size(); ++table) CHECK(same_bits(got.tables[table], wanted.tables[table]));
  }
}

TEST_CASE("PairScorer: float gradients are those in double up to rounding") {
  const PairShape shape = any_shape();
  const PairData data(20, 140);
  const nn::Pass pass{true, 5, 2, 0};
  const auto single = gradients_of(random_model<float>(shape), data, shape, pass);
  const auto exact = gradients_of(random_model<double>(shape), data, shape, pass);
  for (std::size_t k = 0; k < exact.scores.size(); ++k)
    CHECK(static_cast<double>(single.scores[k]) == Approx(exact.scores[k]).epsilon(1e-4).margin(1e-4));
  for (std::size_t table = 0; table < exact.tables.size(); ++table)
    CHECK((single.tables[table].cast<double>() - exact.tables[table]).cwiseAbs().maxCoeff() <
          1e-4 * (1 + exact.tables[table].cwiseAbs().maxCoeff()));
}

TEST_CASE("PairScorer: score gives what forward gives outside training") {
  const PairShape shape = any_shape();
  const Index pairs = GENERATE(1, 31, 33, 300);
  const PairScorer<float> scorer = random_model<float>(shape);
  const PairData data(20, pairs);
  const auto wanted = gradients_of(scorer, data, shape, {false}, 1, 0, 0).scores;
  const auto got = scores_of(scorer, vectors_of(scorer, data, shape), data.user_of_pair, data.item_of_pair, data.given);
  for (std::size_t pair = 0; pair < wanted.size(); ++pair) CHECK(got[pair] == Approx(wanted[pair]).epsilon(1e-5).margin(1e-5));
}

TEST_CASE("PairScorer: a pair's score does not depend on its companions, to the bit, in score and in score_list") {
  const PairShape shape = any_shape();
  const PairScorer<float> scorer = random_model<float>(shape);
  const PairData data(20, 300);
  const auto vectors = vectors_of(scorer, data, shape);
  const auto together = scores_of(scorer, vectors, data.user_of_pair, data.item_of_pair, data.given);
  for (std::size_t pair = 0; pair < together.size(); pair += 7) {
    const auto alone = scores_of(scorer, vectors, std::span(data.user_of_pair).subspan(pair, 1),
                                 std::span(data.item_of_pair).subspan(pair, 1), std::span(data.given).subspan(pair, 1));
    REQUIRE(alone[0] == together[pair]);
  }
  for (std::size_t count = 1; count < 300; count += 13) {
    std::vector<float> scores(count);
    model::HeadScratch<float> scratch;
    const std::vector<Row> user(count, 3);
    const auto items = std::span<const Row>(data.item_of_pair).first(count);
    const auto given = std::span<const float>(data.given).first(count);
    scorer.score_list(vectors.users.row(3).data(), vectors.items, items,
                      scorer.meeting().given ? given : std::span<const float>{}, scores, scratch);
    REQUIRE(scores == scores_of(scorer, vectors, user, items, given));
  }
}

TEST_CASE("PairScorer: vectors are the towers' with the bias behind them, 0 where there is none") {
  const PairData data(20, 1);
  const PairScorer<float> biased = random_model<float>(PairShape::kDot), plain = random_model<float>(PairShape::kNeuMF);
  const auto vectors = vectors_of(biased, data, PairShape::kDot);
  REQUIRE(vectors.users.cols() == 5);
  for (std::size_t k = 0; k < data.user_rows.size(); ++k)
    CHECK(vectors.users(static_cast<Index>(k), 4) == biased.parameters().tables[3].values(data.user_rows[k], 0));
  Matrix<float> encoded(20, 4);
  biased.user().encode<float>(biased.parameters(), data.user_side(PairShape::kDot), data.rows_of_users(PairShape::kDot), encoded,
                              Threads());
  CHECK(same_bits(Matrix<float>(vectors.users.leftCols(4)), encoded));
  CHECK(vectors_of(plain, data, PairShape::kNeuMF).users.col(7).isZero(0));
  CHECK(vectors_of(plain, data, PairShape::kNeuMF).items.col(7).isZero(0));
}

TEST_CASE("PairScorer: first values go by the seed, and its parts do not repeat each other's") {
  const PairScorer<float> scorer(pair_model(PairShape::kDeep)), again(pair_model(PairShape::kDeep));
  PairScorerSpec reseeded = pair_model(PairShape::kDeep);
  reseeded.seed = 4;
  const PairScorer<float> other(reseeded);
  CHECK(same_bits(scorer.parameters(), again.parameters()));
  CHECK(!same_bits(scorer.parameters(), other.parameters()));
  PairScorerSpec twins = pair_model(PairShape::kDeep);
  twins.item = twins.user;
  const PairScorer<float> pair(twins);
  const auto& arena = pair.parameters().arena;
  const auto half = arena.begin() + pair.user().parameter_count();
  CHECK(!std::equal(arena.begin(), half, half));
}

TEST_CASE("PairScorer: refuses parts that do not fit") {
  const auto make = [](const auto& change) {
    PairScorerSpec spec = pair_model(PairShape::kDot);
    change(spec);
    return PairScorer<float>(spec);
  };
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.meeting = {false, false, false, false}; }),
                    "PairScorer: the meeting has no part; ask for vectors, product, dot, given or sum");
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.item = lookup_tower(1, 3); }),
                    "PairScorer: out_width of the user tower is 4, but must equal out_width of the item tower, which is 3");
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.meeting.vectors = true; }),
                    "PairScorer: in_width of the head is 1, but must equal width of the meeting, which is 9");
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.head = nn::Sequential(1, {nn::Dense{1, 2}}); }),
                    "PairScorer: out_width of the head is 2, but must equal the width of a score, which is 1");
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.user_bias = lookup_tower(0, 4); }),
                    "PairScorer: out_width of a bias is 4, but must equal the width of a score, which is 1");
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.tables[1].name = "users"; }),
                    "PairScorer: the name of table 1 is 'users', but another table has it; give each its own");
  const PairData data(2, 1);
  CHECK_THROWS_WITH(make([](PairScorerSpec& s) { s.tables[3].rows = 2; }).check(data.user_side(PairShape::kDot), data.items),
                    "Tower: rows of table 3 is 2, but must be at least 9");
}

TEST_CASE("PairScorer: score refuses sizes and rows that do not fit") {
  const PairScorer<float> scorer = random_model<float>(PairShape::kDeep);
  const PairData data(3, 2);
  const auto vectors = vectors_of(scorer, data, PairShape::kDeep);
  const auto score = [&](const Matrix<float>& users, const Matrix<float>& items, const std::vector<Row>& user_rows,
                         const std::vector<Row>& item_rows, const std::vector<float>& given) {
    std::vector<float> scores(user_rows.size());
    scorer.score(users, items, user_rows, item_rows, given, scores, Threads());
  };
  CHECK_NOTHROW(score(vectors.users, vectors.items, {}, {}, {}));
  CHECK_THROWS_WITH(score(vectors.users.leftCols(5), vectors.items, {0}, {0}, {0}),
                    "score: width of users is 5, but must equal width of a user's vector, which is 6");
  CHECK_THROWS_WITH(score(vectors.users, vectors.items.leftCols(5), {0}, {0}, {0}),
                    "score: width of items is 5, but must equal width of an item's vector, which is 6");
  CHECK_THROWS_WITH(score(vectors.users, vectors.items, {0, 1}, {0}, {0, 0}),
                    "score: size of item_rows is 1, but must equal size of user_rows, which is 2");
  CHECK_THROWS_WITH(score(vectors.users, vectors.items, {0, 1}, {0, 0}, {}),
                    "score: size of given is 0, but must equal size of user_rows, which is 2");
  CHECK_THROWS_WITH(score(vectors.users, vectors.items, {3}, {0}, {0}), "score: user_rows[0] is 3, but must be in [0, 3)");
  CHECK_THROWS_WITH(score(vectors.users, vectors.items, {0}, {7}, {0}), "score: item_rows[0] is 7, but must be in [0, 7)");
  std::vector<float> few(1);
  const std::vector<Row> two{0, 1};
  CHECK_THROWS_WITH(scorer.score(vectors.users, vectors.items, two, two, std::vector<float>{0, 0}, few, Threads()),
                    "score: size of scores is 1, but must equal size of user_rows, which is 2");
  const PairScorer<float> plain = random_model<float>(PairShape::kDot);
  const auto own = vectors_of(plain, data, PairShape::kDot);
  const std::vector<Row> zero{0};
  CHECK_THROWS_WITH(plain.score(own.users, own.items, zero, zero, std::vector<float>{1}, few, Threads()),
                    "score: size of given is 1, but must equal none, which is 0");
  Matrix<float> narrow(3, 5);
  CHECK_THROWS_WITH(scorer.user_vectors(data.users, data.user_rows, narrow, Threads()),
                    "PairScorer: columns of out is 5, but must equal width of the vectors, which is 6");
}
