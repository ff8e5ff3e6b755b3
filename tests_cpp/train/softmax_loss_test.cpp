#include "twotower/train/softmax_loss.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/naive_softmax.hpp"
#include "twotower/data/batch_plan.hpp"

using namespace twotower;
using test::fast_softmax;
using test::naive_softmax;
using test::random_softmax;
using test::SoftmaxAnswer;
using test::SoftmaxProblem;

namespace {

template <class A, class B>
double distance(const A& got, const B& wanted) {
  if (wanted.size() == 0) return 0;
  const Matrix<double> exact = wanted.template cast<double>();
  const double error = (got.template cast<double>() - exact).cwiseAbs().maxCoeff();
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error / std::max(0.1, exact.cwiseAbs().maxCoeff());
}

template <class Scalar>
Eigen::Map<const RowVector<Scalar>> vector_of(const std::vector<Scalar>& values) {
  return {values.data(), std::ssize(values)};
}

/// Largest error of loss and gradients, relative to the largest entry of each.
template <class Scalar>
double error_of(const SoftmaxAnswer<Scalar>& got, const SoftmaxAnswer<double>& wanted) {
  return std::max({std::abs(got.loss - wanted.loss) / std::max(1.0, std::abs(wanted.loss)),
                   distance(got.dqueries, wanted.dqueries), distance(got.ditems, wanted.ditems),
                   distance(vector_of(got.dbias), vector_of(wanted.dbias))});
}

/// Roundings of `Scalar`: a product of `width` terms is divided by the temperature and exponentiated, then summed over rows or
/// columns; 64 for the weights of candidates, up to exp(3), which cancel.
template <class Scalar>
double tolerance(const SoftmaxProblem& problem) {
  const auto terms = static_cast<double>(problem.queries.rows() + problem.items.rows() + problem.items.cols());
  return std::numeric_limits<Scalar>::epsilon() * (64 + 4 * std::sqrt(terms) / problem.temperature);
}

/// Largest difference between the gradients of an answer and central differences of the loss.
double gradient_error(SoftmaxProblem problem, const SoftmaxAnswer<double>& answer) {
  constexpr double kStep = 1e-5;
  double worst = 0;
  const auto compare = [&](double& value, double analytic) {
    const double kept = value;
    value = kept + kStep;
    const double above = fast_softmax<double>(problem).loss;
    value = kept - kStep;
    const double below = fast_softmax<double>(problem).loss;
    value = kept;
    worst = std::max(worst, std::abs((above - below) / (2 * kStep) - analytic));
  };
  for (Index k = 0; k < problem.queries.size(); ++k) compare(problem.queries.data()[k], answer.dqueries.data()[k]);
  for (Index k = 0; k < problem.items.size(); ++k) compare(problem.items.data()[k], answer.ditems.data()[k]);
  for (std::size_t k = 0; k < problem.bias.size(); ++k) compare(problem.bias[k], answer.dbias[k]);
  return worst;
}

template <class Scalar>
bool same_bytes(const SoftmaxAnswer<Scalar>& a, const SoftmaxAnswer<Scalar>& b) {
  const auto bytes = [](const Matrix<Scalar>& m) { return sizeof(Scalar) * static_cast<std::size_t>(m.size()); };
  return std::memcmp(&a.loss, &b.loss, sizeof(double)) == 0 &&
         std::memcmp(a.dqueries.data(), b.dqueries.data(), bytes(a.dqueries)) == 0 &&
         std::memcmp(a.ditems.data(), b.ditems.data(), bytes(a.ditems)) == 0 && a.dbias == b.dbias;
}

/// Two rows of width 1 and temperature 1 whose scores are log 2, log 1, log 3; see the arithmetic in the test.
SoftmaxProblem on_paper() {
  SoftmaxProblem made{Matrix<double>::Ones(2, 1), Matrix<double>(3, 1), {}, 1};
  made.items << std::log(2), 0, std::log(3);
  made.log_weights = {std::log(5.0F), std::log(4.0F), 0};
  made.offsets = {0, 1, 3};
  made.positive_columns = {0, 0, 2};
  made.positive_weights = {0.5F, 0.25F, 0.25F};
  return made;
}

}  // namespace

TEST_CASE("SoftmaxLoss: loss and gradients agree with plain loops") {
  const Index rows = GENERATE(1, 2, 17, 130), columns = GENERATE(1, 2, 37, 300), width = GENERATE(1, 3, 64);
  const bool with_bias = GENERATE(false, true);
  const SoftmaxProblem problem = random_softmax(rows, columns, width, with_bias);
  const auto wanted = naive_softmax(problem);
  INFO("rows " << rows << ", columns " << columns << ", width " << width << ", bias " << with_bias);
  CHECK(error_of(fast_softmax<double>(problem), wanted) < tolerance<double>(problem));
  CHECK(error_of(fast_softmax<float>(problem), wanted) < tolerance<float>(problem));
}

TEST_CASE("SoftmaxLoss: agrees with plain loops where many columns make small panels, in several groups") {
  const SoftmaxProblem problem = random_softmax(300, 5000, 3, true);
  const auto wanted = naive_softmax(problem);
  CHECK(error_of(fast_softmax<double>(problem), wanted) < tolerance<double>(problem));
  CHECK(error_of(fast_softmax<float>(problem), wanted) < tolerance<float>(problem));
}

TEST_CASE("SoftmaxLoss: gradients agree with differences, those without the weights of candidates do not") {
  const auto [rows, columns, width] = GENERATE(std::tuple<Index, Index, Index>{1, 1, 1}, std::tuple<Index, Index, Index>{2, 3, 2},
                                               std::tuple<Index, Index, Index>{7, 11, 3});
  const SoftmaxProblem problem = random_softmax(rows, columns, width, GENERATE(false, true));
  SoftmaxProblem unweighted = problem;
  unweighted.log_weights.assign(problem.log_weights.size(), 0);
  // Differences are exact to step^2 times the third derivative, (1 / temperature)^3, and to epsilon / step.
  CHECK(gradient_error(problem, fast_softmax<double>(problem)) < 1e-8);
  if (columns > 1) CHECK(gradient_error(problem, fast_softmax<double>(unweighted)) > 1e-3);
}

TEST_CASE("SoftmaxLoss: three candidates done on paper") {
  // Exponentials 2, 1, 3; candidates weigh 5, 4, 1; a row's own positives always weigh 1.
  // Row 0, positive 0: D = 2 + 4 * 1 + 3 = 9, loss log(9 / 2), dscores (2/9 - 1, 4/9, 3/9), times 1/2.
  // Row 1, positives 0 and 2: D = 2 + 4 * 1 + 3 = 9 for both. Positive 0 as above, times 1/4; positive 2: loss log(9 / 3),
  // dscores (2/9, 4/9, 3/9 - 1), times 1/4. Width 1, queries 1: ditems are the dscores, dqueries their products with the items
  // (log 2, 0, log 3).
  const auto answer = fast_softmax<double>(on_paper());
  const double third = std::log(3), half = std::log(2);
  CHECK(answer.loss == Approx(0.75 * std::log(9.0 / 2) + 0.25 * std::log(9.0 / 3)).epsilon(1e-6));
  CHECK(answer.ditems(0, 0) == Approx(0.75 * (2.0 / 9 - 1) + 0.25 * 2 / 9).epsilon(1e-6));
  CHECK(answer.ditems(1, 0) == Approx(0.75 * 4 / 9 + 0.25 * 4 / 9).epsilon(1e-6));
  CHECK(answer.ditems(2, 0) == Approx(0.75 * 3 / 9 + 0.25 * (3.0 / 9 - 1)).epsilon(1e-6));
  CHECK(answer.dqueries(0, 0) == Approx(0.5 * ((2.0 / 9 - 1) * half + 3.0 / 9 * third)).epsilon(1e-6));
}

TEST_CASE("SoftmaxLoss: temperature divides scores, bias does not feel it") {
  // Scores 2 * 3 / 4 + 0.5 = 2 and 2 * 1 / 4 + 1 = 1.5: loss of the first is log(1 + exp(-0.5)).
  SoftmaxProblem problem{Matrix<double>::Constant(1, 1, 2), Matrix<double>(2, 1), {0.5, 1}, 4};
  problem.items << 3, 1;
  problem.offsets = {0, 1};
  problem.positive_columns = {0};
  problem.positive_weights = {1};
  problem.log_weights = {0, 0};
  const auto answer = fast_softmax<double>(problem);
  const double other = 1 / (1 + std::exp(0.5));
  CHECK(answer.loss == Approx(std::log1p(std::exp(-0.5))));
  CHECK(answer.dbias[1] == Approx(other));
  CHECK(answer.ditems(1, 0) == Approx(other * 2 / 4));
  CHECK(answer.dqueries(0, 0) == Approx(other * (1 - 3) / 4));
}

TEST_CASE("SoftmaxLoss: a single candidate costs nothing and moves nothing") {
  SoftmaxProblem problem = random_softmax(17, 1, 3, true);
  const auto answer = fast_softmax<float>(problem);
  CHECK(std::abs(answer.loss) < 1e-15);
  CHECK(answer.dqueries.cwiseAbs().maxCoeff() < 1e-6);
  CHECK(answer.ditems.cwiseAbs().maxCoeff() < 1e-6);
  CHECK(std::abs(answer.dbias[0]) < 1e-6);
}

TEST_CASE("SoftmaxLoss: equal scores cost the logarithm of their number") {
  SoftmaxProblem problem{Matrix<double>::Zero(1, 4), Matrix<double>::Ones(37, 4), {}};
  problem.offsets = {0, 1};
  problem.positive_columns = {5};
  problem.positive_weights = {1};
  problem.log_weights.assign(37, 0);
  CHECK(fast_softmax<double>(problem).loss == Approx(std::log(37)));
  // Twice the weight of all others: 1 + 2 * 36 candidates.
  problem.log_weights.assign(37, std::log(2.0F));
  CHECK(fast_softmax<double>(problem).loss == Approx(std::log(73)));
}

TEST_CASE("SoftmaxLoss: scores of ten thousand stay finite and right") {
  const double sign = GENERATE(-1.0, 1.0);
  SoftmaxProblem problem = random_softmax(17, 37, 3, true);
  problem.queries *= 100;
  problem.items *= 100 * sign / problem.items.cwiseAbs().maxCoeff();
  const auto wanted = naive_softmax(problem);
  REQUIRE(wanted.loss > 1000);
  CHECK(error_of(fast_softmax<double>(problem), wanted) < 1e-10);
  const auto single = fast_softmax<float>(problem);
  CHECK(single.loss == Approx(wanted.loss).epsilon(1e-5));
  CHECK((single.dqueries.allFinite() && single.ditems.allFinite()));
}

TEST_CASE("SoftmaxLoss: a positive far below the others costs its distance, one far above nothing") {
  SoftmaxProblem problem{Matrix<double>::Ones(1, 1), Matrix<double>(2, 1), {}, 1};
  problem.items << 10000, -10000;
  problem.offsets = {0, 1};
  problem.positive_weights = {1};
  problem.log_weights = {9, 9};
  problem.positive_columns = {1};
  CHECK(fast_softmax<float>(problem).loss == Approx(20009));
  CHECK(fast_softmax<float>(problem).ditems == (Matrix<float>(2, 1) << 1, -1).finished());
  problem.positive_columns = {0};
  CHECK(fast_softmax<float>(problem).loss == 0);
  CHECK(fast_softmax<float>(problem).ditems.isZero());
}

TEST_CASE("SoftmaxLoss: infinite and missing vectors give a loss that is not finite, never a wrong one") {
  const double broken = GENERATE(std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN());
  SoftmaxProblem problem = random_softmax(5, 37, 3, false);
  problem.positive_columns.assign(problem.positive_columns.size(), 3);
  problem.items(7, 1) = broken;
  CHECK(!std::isfinite(fast_softmax<float>(problem).loss));
  problem.items(7, 1) = 0;
  problem.queries(problem.offsets[1] > 0 ? 0 : 1, 0) = broken;
  CHECK(!std::isfinite(fast_softmax<float>(problem).loss));
}

TEST_CASE("SoftmaxLoss: a positive that comes twice in a row counts twice, as two of half the weight would") {
  SoftmaxProblem twice = random_softmax(1, 37, 3, true), once = twice;
  twice.offsets = {0, 2};
  twice.positive_columns = {5, 5};
  twice.positive_weights = {0.25F, 0.5F};
  once.offsets = {0, 1};
  once.positive_columns = {5};
  once.positive_weights = {0.75F};
  CHECK(error_of(fast_softmax<double>(twice), naive_softmax(twice)) < tolerance<double>(twice));
  CHECK(error_of(fast_softmax<double>(twice), fast_softmax<double>(once)) < tolerance<double>(twice));
}

TEST_CASE("SoftmaxLoss: rows without positives get no gradient, no rows give no loss") {
  SoftmaxProblem problem = random_softmax(3, 37, 3, true);
  problem.offsets = {0, 0, 1, 1};
  problem.positive_columns.resize(1);
  problem.positive_weights = {1};
  const auto answer = fast_softmax<float>(problem);
  CHECK(answer.dqueries.row(0).isZero(0));
  CHECK(!answer.dqueries.row(1).isZero(0));
  CHECK(answer.dqueries.row(2).isZero(0));
  const auto none = fast_softmax<float>(random_softmax(0, 5, 3, true));
  CHECK(none.loss == 0);
  CHECK(none.ditems.isZero(0));
  CHECK(none.dbias == std::vector<float>(5, 0));
}

TEST_CASE("SoftmaxLoss: without a bias the same as with zeros") {
  SoftmaxProblem without = random_softmax(17, 37, 3, false), zeros = without;
  zeros.bias.assign(37, 0);
  const auto answer = fast_softmax<float>(without), wanted = fast_softmax<float>(zeros);
  CHECK(answer.loss == wanted.loss);
  CHECK(answer.dqueries == wanted.dqueries);
  CHECK(answer.ditems == wanted.ditems);
  CHECK(answer.dbias.empty());
}

TEMPLATE_TEST_CASE("SoftmaxLoss: the same bytes for 1, 2 and 7 threads, and from an object used before", "", float, double) {
  const Index rows = GENERATE(1, 17, 300, 1100), columns = GENERATE(2, 300, 3000);
  if (rows * columns > 1'000'000) return;
  const SoftmaxProblem problem = random_softmax(rows, columns, 17, true);
  const auto wanted = fast_softmax<TestType>(problem, 1);
  CHECK(same_bytes(fast_softmax<TestType>(problem, 2), wanted));
  CHECK(same_bytes(fast_softmax<TestType>(problem, 7), wanted));

  // A larger batch before must leave nothing behind.
  train::SoftmaxLoss<TestType> loss(problem.temperature);
  fast_softmax(loss, random_softmax(1300, 310, 17, true), 2);
  CHECK(same_bytes(fast_softmax(loss, problem, 2), wanted));
}

TEST_CASE("SoftmaxLoss: vectors may lie apart in memory") {
  const SoftmaxProblem problem = random_softmax(17, 37, 3, false);
  Matrix<float> queries = Matrix<float>::Constant(17, 8, 7), items = Matrix<float>::Constant(37, 9, 7), dqueries = queries,
                ditems = items;
  queries.middleCols(1, 3) = problem.queries.cast<float>();
  items.middleCols(2, 3) = problem.items.cast<float>();
  const auto wanted = fast_softmax<float>(problem);
  const double loss =
      train::SoftmaxLoss<float>(problem.temperature)(queries.middleCols(1, 3), items.middleCols(2, 3), {}, problem.targets(),
                                                     dqueries.middleCols(1, 3), ditems.middleCols(2, 3), {}, Threads());
  CHECK(loss == Approx(wanted.loss).epsilon(1e-6));
  CHECK(distance(Matrix<float>(dqueries.middleCols(1, 3)), wanted.dqueries) < tolerance<float>(problem));
  CHECK(distance(Matrix<float>(ditems.middleCols(2, 3)), wanted.ditems) < tolerance<float>(problem));
  CHECK((dqueries.leftCols(1).array() == 7).all());
  CHECK((dqueries.rightCols(4).array() == 7).all());
  CHECK((ditems.leftCols(2).array() == 7).all());
}

namespace {

/// Every item once, the other pairs with a popularity that falls as 1 / rank.
data::Interactions popular_first(Index num_queries, Index num_items, Index pairs) {
  RandomStream random(21, Purpose::kTest);
  std::vector<Row> queries, items;
  for (Index k = 0; k < pairs; ++k) {
    queries.push_back(static_cast<Row>(k % num_queries));
    items.push_back(static_cast<Row>(k < num_items ? static_cast<double>(k) : std::pow(num_items, random.uniform()) - 1));
  }
  return {queries, items, std::nullopt, num_queries, num_items};
}

/// The mean of the batches' item gradients over many epochs.
Matrix<double> mean_gradient(const data::Interactions& interactions, const Matrix<double>& u, const Matrix<double>& v,
                             double strength, Index group_size) {
  data::BatchPlan plan(interactions, {200, group_size, strength, 0, {}}, 5);
  Matrix<double> sum = Matrix<double>::Zero(v.rows(), v.cols());
  data::Batch batch;
  double batches = 0;
  for (Index epoch = 0; epoch < 60; ++epoch)
    for (Index number = 0; number < plan.batches_per_epoch(); ++number, ++batches) {
      plan.write(epoch, number, batch);
      const Matrix<double> queries = u(batch.queries, Eigen::all), items = v(batch.candidates, Eigen::all);
      Matrix<double> dqueries(queries.rows(), u.cols()), ditems(items.rows(), v.cols());
      train::SoftmaxLoss<double>(0.5)(queries, items, {},
                                      {batch.offsets, batch.positive_columns, batch.positive_weights, batch.log_weights},
                                      dqueries, ditems, {}, Threads());
      for (std::size_t c = 0; c < batch.candidates.size(); ++c) sum.row(batch.candidates[c]) += ditems.row(static_cast<Index>(c));
    }
  return sum / batches;
}

/// The gradient of the mean of -log softmax over the whole catalogue.
Matrix<double> full_gradient(const data::Interactions& interactions, const Matrix<double>& u, const Matrix<double>& v) {
  SoftmaxProblem problem{u, v, {}};
  problem.offsets = interactions.positives().offsets;
  problem.positive_columns = interactions.positives().items;
  problem.positive_weights.assign(problem.positive_columns.size(), 1.0F / static_cast<float>(problem.positive_columns.size()));
  problem.log_weights.assign(static_cast<std::size_t>(v.rows()), 0);
  return naive_softmax(problem).ditems;
}

}  // namespace

TEST_CASE("SoftmaxLoss: with the full correction the batches' mean gradient is that of the full softmax, without it it is not") {
  const data::Interactions interactions = popular_first(50, 120, 1000);
  const auto u = test::random_matrix<double>(50, 4, 1, 0.5), v = test::random_matrix<double>(120, 4, 2, 0.5);
  const Matrix<double> wanted = full_gradient(interactions, u, v);
  const auto error = [&](double strength, Index group_size = 1) {
    return (mean_gradient(interactions, u, v, strength, group_size) - wanted).norm() / wanted.norm();
  };
  // What is left: 300 batches' scatter, and that the logarithm of an estimated sum is a little less than that of the sum.
  CHECK(error(1) < 0.03);
  CHECK(error(0.5) > 0.06);
  CHECK(error(0) > 0.12);
  // Several positives a row, which weigh 1: 0.049. With the row's other positives weighing like strangers 0.074.
  CHECK(error(1, 16) < 0.06);
}

TEST_CASE("SoftmaxLoss: refuses what does not fit") {
  SoftmaxProblem problem = random_softmax(2, 3, 4, true);
  const auto run = [](const SoftmaxProblem& broken) { return fast_softmax<float>(broken).loss; };
  CHECK_THROWS_WITH(train::SoftmaxLoss<float>(0), "SoftmaxLoss: temperature is 0, but must be a finite number above 0");
  problem.items = Matrix<double>(3, 5);
  CHECK_THROWS_WITH(run(problem), "SoftmaxLoss: width of queries is 4, but must equal width of items, which is 5");
  problem = random_softmax(2, 3, 4, true);
  problem.log_weights.pop_back();
  CHECK_THROWS_WITH(run(problem), "SoftmaxLoss: size of log_weights is 2, but must equal rows of items, which is 3");
  problem = random_softmax(2, 3, 4, true);
  problem.bias.pop_back();
  CHECK_THROWS_WITH(run(problem), "SoftmaxLoss: size of bias is 2, but must equal rows of items, which is 3");
  problem = random_softmax(1, 3, 4, true);
  problem.positive_columns = {0, 3};
  CHECK_THROWS_WITH(run(problem), "SoftmaxLoss: positive_columns[1] is 3, but must be in [0, 3)");
  problem.positive_columns = {0, 1};
  problem.positive_weights = {1};
  CHECK_THROWS_WITH(run(problem),
                    "SoftmaxLoss: size of positive_weights is 1, but must equal size of positive_columns, which is 2");
  problem = random_softmax(1, 3, 4, true);
  problem.offsets = {0, 1, 2};
  CHECK_THROWS_WITH(run(problem), "SoftmaxLoss: size of offsets is 3, but must equal rows of queries + 1, which is 2");
  const SoftmaxProblem nothing{Matrix<double>(1, 4), Matrix<double>(0, 4), {}, 1, {0, 0}};
  CHECK_THROWS_WITH(run(nothing), "SoftmaxLoss: rows of items is 0, but must be at least 1");
}
