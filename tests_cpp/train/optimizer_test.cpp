#include "twotower/train/optimizer.hpp"

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using nn::Parameters;
using nn::RowGradients;
using nn::RowTouch;
using train::Optimizer;
using train::OptimizerKind;
using train::OptimizerSpec;

namespace {

constexpr OptimizerKind kKinds[] = {OptimizerKind::kSgd, OptimizerKind::kAdagrad, OptimizerKind::kRowwiseAdagrad,
                                    OptimizerKind::kAdam, OptimizerKind::kLazyAdam};

/// Which rows a step touches, ascending, and the gradient of each.
struct Touched {
  std::vector<Row> rows;
  Matrix<double> gradients;
};

template <class Scalar>
Parameters<Scalar> one_table(const Matrix<double>& values) {
  return {{}, {{"table", values.cast<Scalar>()}}};
}

/// A whole step of table 0, in the order that the optimizer asks for.
template <class Scalar>
void step(Optimizer<Scalar>& optimizer, Parameters<Scalar>& parameters, const Touched& touched, double rate,
          int num_threads = 1) {
  const Matrix<Scalar> gradients = touched.gradients.cast<Scalar>();
  std::vector<RowTouch> touches;
  for (std::size_t k = 0; k < touched.rows.size(); ++k) touches.push_back({touched.rows[k], static_cast<Row>(k), 1});
  const typename RowGradients<Scalar>::Source source{
      touches, {gradients.data(), gradients.rows(), gradients.cols(), Eigen::OuterStride<>(gradients.cols())}};
  RowGradients<Scalar> sums;
  sums.sort({&source, 1}, parameters.tables[0].values.rows());
  const Threads threads(num_threads);
  optimizer.catch_up(parameters, 0, sums.rows(), threads);
  optimizer.begin_step(rate);
  optimizer.update_rows(parameters, 0, sums, threads);
}

/// A table of one row and a step that touches it.
std::vector<double> after(const OptimizerSpec& spec, std::vector<double> values,
                          const std::vector<std::vector<double>>& gradients, double rate) {
  const auto width = std::ssize(values);
  auto parameters = one_table<double>(Eigen::Map<Matrix<double>>(values.data(), 1, width));
  Optimizer<double> optimizer(spec, parameters);
  for (const auto& gradient : gradients)
    step(optimizer, parameters, {{0}, Eigen::Map<const Matrix<double>>(gradient.data(), 1, width)}, rate);
  const auto& table = parameters.tables[0].values;
  return {table.data(), table.data() + width};
}

/// Adam as Kingma and Ba write it, every row at every step, with AdamW's decay; `lazy` leaves untouched rows alone.
struct DenseAdam {
  OptimizerSpec spec;
  Matrix<double> values;
  Matrix<double> m = Matrix<double>::Zero(values.rows(), values.cols()), v = m;
  int t = 0;

  void step(const Touched& touched, double rate) {
    ++t;
    Matrix<double> gradient = Matrix<double>::Zero(values.rows(), values.cols());
    for (std::size_t k = 0; k < touched.rows.size(); ++k)
      gradient.row(touched.rows[k]) = touched.gradients.row(static_cast<Index>(k));
    for (Index row = 0; row < values.rows(); ++row) {
      const bool is_touched = std::find(touched.rows.begin(), touched.rows.end(), row) != touched.rows.end();
      if (spec.kind == OptimizerKind::kLazyAdam && !is_touched) continue;
      for (Index k = 0; k < values.cols(); ++k) {
        m(row, k) = spec.beta1 * m(row, k) + (1 - spec.beta1) * gradient(row, k);
        v(row, k) = spec.beta2 * v(row, k) + (1 - spec.beta2) * gradient(row, k) * gradient(row, k);
        const double m_hat = m(row, k) / (1 - std::pow(spec.beta1, t)), v_hat = v(row, k) / (1 - std::pow(spec.beta2, t));
        values(row, k) -= rate * m_hat / (std::sqrt(v_hat) + spec.epsilon) + rate * spec.weight_decay * values(row, k);
      }
    }
  }
};

constexpr Index kRows = 20, kWidth = 3;

/// Steps that touch each row but the last two with probability `share`; `together` now and then all of them but the last.
std::vector<Touched> pattern(Index steps, double share, Index together) {
  RandomStream random(9, Purpose::kTest);
  std::vector<Touched> made;
  for (Index s = 0; s < steps; ++s) {
    Touched touched;
    for (Row row = 0; row < kRows - 1; ++row)
      if ((row < kRows - 2 && random.uniform() < share) || s % together == 2) touched.rows.push_back(row);
    touched.gradients = test::random_matrix<double>(std::ssize(touched.rows), kWidth, 100 + static_cast<std::uint64_t>(s), 0.1);
    made.push_back(touched);
  }
  return made;
}

double rate_at(std::size_t step) { return 0.01 / (1 + 0.01 * static_cast<double>(step)); }

/// Largest difference from the dense oracle, at every row that a step reads and in all rows at the end.
template <class Scalar>
double difference_from_dense(const OptimizerSpec& spec, const std::vector<Touched>& steps) {
  const auto start = test::random_matrix<double>(kRows, kWidth, 1);
  auto parameters = one_table<Scalar>(start);
  const auto& values = parameters.tables[0].values;
  Optimizer<Scalar> optimizer(spec, parameters);
  DenseAdam oracle{spec, start};
  double worst = 0;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    optimizer.catch_up(parameters, 0, steps[s].rows, Threads());
    for (const Row row : steps[s].rows)
      worst = std::max(worst, (values.row(row).template cast<double>() - oracle.values.row(row)).cwiseAbs().maxCoeff());
    step(optimizer, parameters, steps[s], rate_at(s));
    oracle.step(steps[s], rate_at(s));
  }
  optimizer.finish(parameters, Threads());
  return std::max(worst, (values.template cast<double>() - oracle.values).cwiseAbs().maxCoeff());
}

template <class Scalar>
bool same_bytes(const Matrix<Scalar>& a, const Matrix<Scalar>& b) {
  return std::memcmp(a.data(), b.data(), sizeof(Scalar) * static_cast<std::size_t>(a.size())) == 0;
}

}  // namespace

TEST_CASE("Optimizer: first steps of SGD and Adagrad on paper") {
  CHECK(after({OptimizerKind::kSgd}, {1, 2}, {{0.5, -1}}, 0.1) == std::vector<double>{0.95, 2.1});
  // s = 0.25: 1 - 0.1 * 0.5 / 0.5 = 0.9; s = 0.5: 0.9 - 0.1 * 0.5 / sqrt(0.5) = 0.9 - 0.0707107.
  CHECK(after({OptimizerKind::kAdagrad}, {1}, {{0.5}}, 0.1)[0] == Approx(0.9).epsilon(1e-7));
  CHECK(after({OptimizerKind::kAdagrad}, {1}, {{0.5}, {0.5}}, 0.1)[0] == Approx(0.9 - 0.1 * 0.5 / std::sqrt(0.5)).epsilon(1e-7));
  // One s for the row, (9 + 16) / 2 = 12.5: -0.1 * 3 / sqrt(12.5) and -0.1 * 4 / sqrt(12.5).
  const auto row = after({OptimizerKind::kRowwiseAdagrad}, {0, 0}, {{3, 4}}, 0.1);
  CHECK(row[0] == Approx(-0.3 / std::sqrt(12.5)).epsilon(1e-7));
  CHECK(row[1] == Approx(-0.4 / std::sqrt(12.5)).epsilon(1e-7));
}

TEST_CASE("Optimizer: first steps of Adam on paper") {
  const OptimizerKind kind = GENERATE(OptimizerKind::kAdam, OptimizerKind::kLazyAdam);
  // The first step moves by the rate against the sign of the gradient, whatever its size.
  const auto first = after({kind}, {1, 1}, {{0.5, -20}}, 0.1);
  CHECK(first[0] == Approx(0.9).epsilon(1e-7));
  CHECK(first[1] == Approx(1.1).epsilon(1e-7));
  // Then a gradient of 0: m = 0.9 * 0.1 g, v = 0.999 * 0.001 g^2, mhat = 0.09 g / 0.19, vhat = 0.000999 g^2 / 0.001999.
  const auto second = after({kind}, {1}, {{0.5}, {0}}, 0.1);
  CHECK(second[0] == Approx(0.9 - 0.1 * (0.09 / 0.19) / std::sqrt(0.000999 / 0.001999)).epsilon(1e-7));
  // Decoupled decay takes rate * decay * w beside the move: 1 - 0.1 - 0.1 * 0.2 * 1.
  CHECK(after({kind, 0.9, 0.999, 1e-8, 0.2}, {1}, {{0.5}}, 0.1)[0] == Approx(0.88).epsilon(1e-7));
}

TEST_CASE("Optimizer: epsilon stands beside the root") {
  // Adagrad: 1 - 0.1 * 0.5 / (0.5 + 0.5); Adam: m = 0.05, mhat = 0.5, vhat = 0.25.
  CHECK(after({OptimizerKind::kAdagrad, 0.9, 0.999, 0.5}, {1}, {{0.5}}, 0.1)[0] == Approx(0.95));
  CHECK(after({OptimizerKind::kAdam, 0.9, 0.999, 0.5}, {1}, {{0.5}}, 0.1)[0] == Approx(0.95));
}

TEST_CASE("Optimizer: Adam that catches up is dense Adam") {
  // Every row but the last is touched at least every 60 steps: no missed move is left out and only rounding differs.
  const double decay = GENERATE(0.0, 0.3);
  const auto steps = pattern(400, GENERATE(0.02, 0.3), 60);
  CHECK(difference_from_dense<double>({OptimizerKind::kAdam, 0.9, 0.999, 1e-8, decay}, steps) < 1e-13);
  CHECK(difference_from_dense<double>({OptimizerKind::kAdam, 0.8, 0.999, 1e-3, decay}, steps) < 1e-13);
  CHECK(difference_from_dense<double>({OptimizerKind::kAdam, 0, 0.9, 1e-8, decay}, steps) < 1e-13);
  // Here v falls as fast as m^2 and moves never die out; roundings grow with them.
  CHECK(difference_from_dense<double>({OptimizerKind::kAdam, 0.9, 0.81, 1e-3, decay}, steps) < 1e-11);
  // Up to 400 moves of 0.01, each rounded and with rounded moments.
  CHECK(difference_from_dense<float>({OptimizerKind::kAdam, 0.9, 0.999, 1e-8, decay}, steps) < 400 * 0.01 * 1e-6);
}

TEST_CASE("Optimizer: rows that rest for hundreds of steps lose next to nothing of dense Adam") {
  // Moves below 1e-6 of the first missed one are left out. That one is at most rate * (1 - beta1) / sqrt(1 - beta2) = 3.2 rates,
  // those after it fall by 0.9 and so add up to ten times as much: 1e-6 * 3.2 * 10 * 0.01 = 3e-7 a rest.
  const double decay = GENERATE(0.0, 0.3);
  const auto steps = pattern(1000, 0.002, 450);
  CHECK(difference_from_dense<double>({OptimizerKind::kAdam, 0.9, 0.999, 1e-8, decay}, steps) < 3e-7 * 3);
  // A slower beta1 takes more moves: 1447 of them, so that none is left out here.
  CHECK(difference_from_dense<double>({OptimizerKind::kAdam, 0.99, 0.999, 1e-8, decay}, steps) < 1e-13);
}

TEST_CASE("Optimizer: a row that no step touches only decays") {
  const double decay = GENERATE(0.0, 0.3);
  const auto start = test::random_matrix<double>(kRows, kWidth, 1);
  auto parameters = one_table<double>(start);
  Optimizer<double> optimizer({OptimizerKind::kAdam, 0.9, 0.999, 1e-8, decay}, parameters);
  double kept = 1;
  for (std::size_t s = 0; s < 300; ++s) {
    step(optimizer, parameters, {{0}, Matrix<double>::Ones(1, kWidth)}, rate_at(s));
    kept *= 1 - rate_at(s) * decay;
    if (s == 100) optimizer.finish(parameters, Threads());
  }
  optimizer.finish(parameters, Threads());
  CHECK((parameters.tables[0].values.bottomRows(kRows - 1) - start.bottomRows(kRows - 1) * kept).cwiseAbs().maxCoeff() < 1e-13);
  if (decay == 0) CHECK(parameters.tables[0].values.bottomRows(kRows - 1) == start.bottomRows(kRows - 1));
}

TEST_CASE("Optimizer: lazy Adam leaves untouched rows alone, so it differs from Adam as it should") {
  const auto steps = pattern(200, 0.1, 60);
  const OptimizerSpec lazy{OptimizerKind::kLazyAdam, 0.9, 0.999, 1e-8, 0.1};
  CHECK(difference_from_dense<double>(lazy, steps) < 1e-13);
  OptimizerSpec dense = lazy;
  dense.kind = OptimizerKind::kAdam;
  auto from_lazy = one_table<double>(test::random_matrix<double>(kRows, kWidth, 1)), from_dense = from_lazy;
  const Matrix<double> start = from_lazy.tables[0].values;
  Optimizer<double> lazy_adam(lazy, from_lazy), adam(dense, from_dense);
  for (std::size_t s = 0; s < steps.size(); ++s) {
    step(lazy_adam, from_lazy, steps[s], rate_at(s));
    step(adam, from_dense, steps[s], rate_at(s));
  }
  adam.finish(from_dense, Threads());
  CHECK((from_lazy.tables[0].values - from_dense.tables[0].values).topRows(kRows - 2).cwiseAbs().maxCoeff() > 1e-3);
  CHECK(from_lazy.tables[0].values.row(kRows - 1) == start.row(kRows - 1));
}

TEST_CASE("Optimizer: only Adam looks at rows without a gradient") {
  for (const OptimizerKind kind : kKinds) {
    auto parameters = one_table<float>(test::random_matrix<double>(kRows, kWidth, 1));
    const Matrix<float> start = parameters.tables[0].values;
    Optimizer<float> optimizer({kind}, parameters);
    step(optimizer, parameters, {{3}, Matrix<double>::Ones(1, kWidth)}, 0.1);
    const Matrix<float> stepped = parameters.tables[0].values;
    step(optimizer, parameters, {{5}, Matrix<double>::Ones(1, kWidth)}, 0.1);
    optimizer.finish(parameters, Threads());
    const auto& values = parameters.tables[0].values;
    CHECK(stepped.row(3) != start.row(3));
    CHECK((values.row(3) != stepped.row(3)) == (kind == OptimizerKind::kAdam));
    CHECK(values.row(5) != start.row(5));
    CHECK(values.row(4) == start.row(4));
  }
}

TEST_CASE("Optimizer: a step without touched rows is a step") {
  auto parameters = one_table<double>(Matrix<double>::Ones(2, 1)), other = parameters;
  Optimizer<double> optimizer({}, parameters), dense({}, other);
  step(optimizer, parameters, {{0}, Matrix<double>::Ones(1, 1)}, 0.1);
  step(optimizer, parameters, {{}, Matrix<double>(0, 1)}, 0.1);
  optimizer.finish(parameters, Threads());
  step(dense, other, {{0}, Matrix<double>::Ones(1, 1)}, 0.1);
  step(dense, other, {{0}, Matrix<double>::Zero(1, 1)}, 0.1);
  CHECK(parameters.tables[0].values(0, 0) == Approx(other.tables[0].values(0, 0)).epsilon(1e-14));
}

TEST_CASE("Optimizer: a step that is given up before it begins leaves nothing behind but a rounding") {
  const auto steps = pattern(50, 0.3, 60);
  auto parameters = one_table<float>(test::random_matrix<double>(kRows, kWidth, 1)), disturbed = parameters;
  Optimizer<float> optimizer({}, parameters), given_up({}, disturbed);
  for (std::size_t s = 0; s < steps.size(); ++s) {
    step(optimizer, parameters, steps[s], rate_at(s));
    given_up.catch_up(disturbed, 0, steps[(s + 7) % steps.size()].rows, Threads());
    step(given_up, disturbed, steps[s], rate_at(s));
  }
  optimizer.finish(parameters, Threads());
  given_up.finish(disturbed, Threads());
  CHECK((disturbed.tables[0].values - parameters.tables[0].values).cwiseAbs().maxCoeff() < 1e-6F);
}

TEST_CASE("Optimizer: training may go on after finish, the same to rounding") {
  const auto steps = pattern(120, 0.1, 60);
  auto parameters = one_table<float>(test::random_matrix<double>(kRows, kWidth, 1)), finished = parameters;
  Optimizer<float> optimizer({}, parameters), finishing({}, finished);
  for (std::size_t s = 0; s < steps.size(); ++s) {
    step(optimizer, parameters, steps[s], rate_at(s));
    step(finishing, finished, steps[s], rate_at(s));
    finishing.finish(finished, Threads());
  }
  optimizer.finish(parameters, Threads());
  CHECK((finished.tables[0].values - parameters.tables[0].values).cwiseAbs().maxCoeff() < 1e-6F);
}

TEST_CASE("Optimizer: missed moves taken at once are those taken one by one") {
  // One side never rests for more than a step; the other takes rests of up to 60 steps at once, once steps are many enough.
  const double epsilon = GENERATE(1e-8, 1e-3, 0.1), decay = GENERATE(0.0, 0.3);
  const OptimizerSpec spec{OptimizerKind::kAdam, 0.9, 0.999, epsilon, decay};
  const auto steps = pattern(1500, 0.03, 60);
  auto at_once = one_table<float>(test::random_matrix<double>(kRows, kWidth, 1)), one_by_one = at_once;
  Optimizer<float> resting(spec, at_once), awake(spec, one_by_one);
  for (std::size_t s = 0; s < steps.size(); ++s) {
    step(resting, at_once, steps[s], rate_at(s));
    step(awake, one_by_one, steps[s], rate_at(s));
    awake.finish(one_by_one, Threads());
  }
  resting.finish(at_once, Threads());
  const auto &a = at_once.tables[0].values, &b = one_by_one.tables[0].values;
  CHECK(!same_bytes(a, b));  // both ways were gone
  CHECK((a - b).cwiseAbs().maxCoeff() < 5e-6F);
}

TEST_CASE("Optimizer: the arena moves as a table would, element by element") {
  const OptimizerKind kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  // Row-wise Adagrad has one s an element in the arena: a table of width 1 is the same.
  const Index width = kind == OptimizerKind::kRowwiseAdagrad ? 1 : 4;
  const auto start = test::random_matrix<double>(4 / width, width, 1);
  Parameters<double> arena{{start.data(), start.data() + 4}, {}};
  auto table = one_table<double>(start);
  Optimizer<double> of_arena({kind}, arena), of_table({kind}, table);
  for (std::uint64_t s = 0; s < 10; ++s) {
    const auto gradient = test::random_matrix<double>(4 / width, width, 10 + s);
    std::vector<Row> rows(static_cast<std::size_t>(4 / width));
    std::iota(rows.begin(), rows.end(), 0);
    of_arena.begin_step(0.1);
    of_arena.update_arena(arena, {gradient.data(), 4});
    step(of_table, table, {rows, gradient}, 0.1);
  }
  CHECK(arena.arena == std::vector<double>(table.tables[0].values.data(), table.tables[0].values.data() + 4));
}

TEST_CASE("Optimizer: every kind minimizes simple functions") {
  struct Function {
    const char* name;
    double start[2], minimum[2];
    std::function<void(const double*, double*)> gradient;
  };
  const Function functions[] = {
      {"sphere", {3, -2}, {0, 0}, [](const double* x, double* g) { g[0] = 2 * x[0], g[1] = 2 * x[1]; }},
      {"long valley", {1, 1}, {0, 0}, [](const double* x, double* g) { g[0] = x[0], g[1] = 50 * x[1]; }},
      {"Booth",
       {0, 0},
       {1, 3},
       [](const double* x, double* g) {
         const double a = x[0] + 2 * x[1] - 7, b = 2 * x[0] + x[1] - 5;
         g[0] = 2 * a + 4 * b, g[1] = 4 * a + 2 * b;
       }},
      {"log cosh", {2, -3}, {1, 1}, [](const double* x, double* g) { g[0] = std::tanh(x[0] - 1), g[1] = std::tanh(x[1] - 1); }}};
  for (const OptimizerKind kind : kKinds)
    for (const Function& function : functions) {
      INFO("kind " << static_cast<int>(kind) << ", " << function.name);
      const bool is_adagrad = kind == OptimizerKind::kAdagrad || kind == OptimizerKind::kRowwiseAdagrad;
      const double peak = is_adagrad ? 0.5 : kind == OptimizerKind::kSgd ? 0.02 : 0.05;
      Matrix<double> start(1, 2), gradient(1, 2);
      start << function.start[0], function.start[1];
      auto parameters = one_table<double>(start);
      const auto& values = parameters.tables[0].values;
      Optimizer<double> optimizer({kind}, parameters);
      for (int s = 0; s < 2000; ++s) {
        function.gradient(values.data(), gradient.data());
        step(optimizer, parameters, {{0}, gradient}, peak * (1 - s / 2001.0));
      }
      CHECK(std::abs(values(0, 0) - function.minimum[0]) < 1e-3);
      CHECK(std::abs(values(0, 1) - function.minimum[1]) < 1e-3);
    }
}

TEST_CASE("Optimizer: the same bytes for 1, 2 and 7 threads") {
  const OptimizerKind kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  const auto start = test::random_matrix<double>(700, 17, 1);
  const auto train = [&](int num_threads) {
    auto parameters = one_table<float>(start);
    Optimizer<float> optimizer({kind, 0.9, 0.999, 1e-8, 0.1}, parameters);
    for (Row s = 0; s < 10; ++s) {
      Touched touched;
      for (Row row = s; row < 700; row += s + 1) touched.rows.push_back(row);
      touched.gradients = test::random_matrix<double>(std::ssize(touched.rows), 17, 5);
      step(optimizer, parameters, touched, 0.1, num_threads);
    }
    optimizer.finish(parameters, Threads(num_threads));
    return parameters.tables[0].values;
  };
  const Matrix<float> wanted = train(1);
  CHECK(same_bytes(train(2), wanted));
  CHECK(same_bytes(train(7), wanted));
}

TEST_CASE("Optimizer: refuses what makes no sense") {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const auto check = [](double beta1, double beta2, double epsilon, double decay) {
    OptimizerSpec{OptimizerKind::kAdam, beta1, beta2, epsilon, decay}.check();
  };
  CHECK_NOTHROW(OptimizerSpec{}.check());
  CHECK_THROWS_WITH(check(1, 0.9, 1e-8, 0), "Optimizer: beta1 is 1, but must be in [0, 0.99999]");
  CHECK_THROWS_WITH(check(0.9, -1, 1e-8, 0), "Optimizer: beta2 is -1, but must be in [0, 1]");
  CHECK_THROWS_WITH(check(0.9, 0.9, 0, 0), "Optimizer: epsilon is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(check(0.9, 0.9, 1e-8, kNaN), "Optimizer: weight_decay is nan, but must be in [0, 1e+06]");
  Parameters<float> parameters{{1, 2, 3}, {}};
  Optimizer<float> optimizer({}, parameters);
  optimizer.begin_step(0.1);
  CHECK_THROWS_WITH(optimizer.update_arena(parameters, std::vector<float>(2)),
                    "Optimizer: size of gradient is 2, but must equal size of the arena, which is 3");
}

// --- from one training to the next ---------------------------------------------------------------------------------------

namespace {

/// Steps first ... last - 1 of a fixed course over a table of four rows.
void course(Optimizer<double>& optimizer, Parameters<double>& parameters, int first, int last) {
  for (int s = first; s < last; ++s) {
    const Row row = static_cast<Row>(s % 3);
    step(optimizer, parameters, {{row, 3}, test::random_matrix<double>(2, 2, static_cast<std::uint64_t>(100 + s))}, 0.1);
  }
}

}  // namespace

TEST_CASE("Optimizer: a state taken and resumed goes on as if nothing had happened") {
  const auto kind = GENERATE(from_range(std::begin(kKinds), std::end(kKinds)));
  const OptimizerSpec spec{kind};
  auto whole = one_table<double>(test::random_matrix<double>(4, 2, 1)), halves = whole;
  Optimizer<double> through(spec, whole), before(spec, halves);
  course(through, whole, 0, 20);
  through.finish(whole, Threads());
  course(before, halves, 0, 10);
  before.finish(halves, Threads());
  Optimizer<double> after_it(spec, halves);
  after_it.resume(before.state());
  course(after_it, halves, 10, 20);
  after_it.finish(halves, Threads());
  CHECK((whole.tables[0].values - halves.tables[0].values).cwiseAbs().maxCoeff() < 1e-6);
}

TEST_CASE("Optimizer: a resumed lazy Adam leaves the rows that no step touches as they are") {
  auto parameters = one_table<double>(test::random_matrix<double>(4, 2, 1));
  Optimizer<double> before({OptimizerKind::kAdam}, parameters);
  course(before, parameters, 0, 9);
  before.finish(parameters, Threads());
  const Matrix<double> kept = parameters.tables[0].values;
  Optimizer<double> lazy({OptimizerKind::kLazyAdam}, parameters);
  lazy.resume(before.state());
  step(lazy, parameters, {{1}, Matrix<double>::Ones(1, 2)}, 0.1);
  lazy.finish(parameters, Threads());
  for (const Row row : {0, 2, 3}) CHECK(parameters.tables[0].values.row(row) == kept.row(row));
  CHECK(parameters.tables[0].values.row(1) != kept.row(1));
}

TEST_CASE("Optimizer: a table that has grown resumes with nothing for its further rows") {
  auto small = one_table<double>(test::random_matrix<double>(2, 2, 1)),
       large = one_table<double>(test::random_matrix<double>(5, 2, 2));
  Optimizer<double> before({OptimizerKind::kLazyAdam}, small), after_it({OptimizerKind::kLazyAdam}, large);
  step(before, small, {{0, 1}, Matrix<double>::Ones(2, 2)}, 0.1);
  after_it.resume(before.state());
  const auto state = after_it.state();
  CHECK(state.steps == 1);
  CHECK(state.first[1].topRows(2) == before.state().first[1]);
  CHECK(state.first[1].bottomRows(3).isZero(0));
  CHECK(state.second[1].bottomRows(3).isZero(0));
}

TEST_CASE("Optimizer: refuses a state that does not fit") {
  auto small = one_table<double>(test::random_matrix<double>(2, 2, 1)),
       large = one_table<double>(test::random_matrix<double>(5, 2, 2));
  Optimizer<double> of_small({OptimizerKind::kLazyAdam}, small), of_large({OptimizerKind::kLazyAdam}, large);
  CHECK_THROWS_WITH(of_small.resume(of_large.state()), "Optimizer: rows of a table is 2, but must be at least 5");
  auto state = of_small.state();
  state.first.pop_back();
  CHECK_THROWS_WITH(of_small.resume(state),
                    "Optimizer: number of tables in the state is 0, but must equal number of tables, which is 1");
  step(of_small, small, {{0}, Matrix<double>::Ones(1, 2)}, 0.1);
  CHECK_THROWS_WITH(of_small.resume(of_small.state()),
                    "Optimizer: steps were taken already, but a state can be taken up before the first step only");
}
