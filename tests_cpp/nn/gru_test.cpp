#include "twotower/nn/gru.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/sequence_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::Gru;
using twotower::nn::Sequences;
using twotower::test::one_sequence;
using twotower::test::random_sequences;
using twotower::test::SequenceCase;
using twotower::test::SequenceRun;

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// The formulas of the header as they stand there, one state after the other.
Matrix<double> naive_gru(const Gru& gru, const Matrix<double>& parameters, const Matrix<double>& elements,
                         const Sequences& sequences) {
  const Index w = gru.width;
  const Matrix<double> inputs = parameters.leftCols(3 * w * w).reshaped<Eigen::RowMajor>(w, 3 * w);
  const Matrix<double> recurrent = parameters.middleCols(3 * w * w, 3 * w * w).reshaped<Eigen::RowMajor>(w, 3 * w);
  const Matrix<double> bias = parameters.middleCols(6 * w * w, 3 * w);
  const auto part = [&](const Matrix<double>& whole, Index gate) -> Matrix<double> { return whole.middleCols(gate * w, w); };
  Matrix<double> y(sequences.rows(), w);
  Index row = 0;
  for (Index s = 0; s < sequences.count(); ++s) {
    const Sequences one = sequences.part(s, s + 1);
    for (std::int64_t reader = one.readers[0]; reader < one.readers[1]; ++reader, ++row) {
      const Index length = one.lengths[static_cast<std::size_t>(reader)];
      Matrix<double> h = Matrix<double>::Zero(1, w);
      for (Index j = 0; j < length; ++j) {
        const auto p = static_cast<std::size_t>(one.offsets[0] + j);
        const double weight = one.weights.empty() ? 1 : double{one.weights[p]};
        if (weight == 0) continue;
        const Matrix<double> x = weight * elements.row(one.codes[p]), from_x = x * inputs + bias, from_h = h * recurrent;
        const Matrix<double> r = (part(from_x, 0) + part(from_h, 0)).unaryExpr(&sigmoid);
        const Matrix<double> z = (part(from_x, 1) + part(from_h, 1)).unaryExpr(&sigmoid);
        const Matrix<double> rh = r.cwiseProduct(h), a = part(from_x, 2) + rh * part(recurrent, 2), n = a.array().tanh();
        h = z.cwiseProduct(h) + (1 - z.array()).matrix().cwiseProduct(n);
      }
      if (length == 0)
        y.row(row) = parameters.rightCols(w);
      else
        y.row(row) = h;
    }
  }
  return y;
}

}  // namespace

TEST_CASE("Gru: does what every sequence encoder must") {
  const Index width = GENERATE(1, 2, 17, 33), count = GENERATE(0, 1, 5, 13);
  // A chain of up to 9 states, each of which enlarges the rounding of the one before it.
  twotower::test::check_sequence_encoder(Gru{width}, random_sequences(count, 9, GENERATE(false, true), 3), {}, 30);
}

TEST_CASE("Gru: training has the bits of the rest") {
  const Gru gru{17};
  const SequenceCase input = random_sequences(40, 20, false, 3);
  SequenceRun<float> run(gru, input), training(gru, input);
  gru.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  gru.forward<float>(run.parameters.data(), run.elements, input.view(), training.y, training.cache, {true, 1, 2, 3});
  CHECK(twotower::test::same_bytes(run.y, training.y));
}

TEST_CASE("Gru: agrees with plain loops") {
  const Index width = GENERATE(1, 5, 32, 64), longest = GENERATE(1, 16, 33), count = GENERATE(1, 11, 50);
  const Gru gru{width};
  const SequenceCase input = random_sequences(count, longest, GENERATE(false, true), 4);
  SequenceRun<double> run(gru, input);
  gru.forward<double>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  const Matrix<double> wanted = naive_gru(gru, run.parameters, run.elements, input.view());
  CHECK(twotower::test::distance(run.y, wanted) < 1e-14 * static_cast<double>(longest * width + 4));
}

TEST_CASE("Gru: two steps done on paper") {
  // width 1: W = (1, 2, 3), U = (4, 5, 6), b = (.1, .2, .3), elements 1 and -1, empty 7.
  //   h1: z = s(2.2), n = tanh(3.3), h1 = (1 - z) n        h2: r = s(-.9 + 4 h1), z = s(-1.8 + 5 h1),
  //   n = tanh(-2.7 + 6 r h1), h2 = z h1 + (1 - z) n
  const SequenceCase input = one_sequence({1, 2}, {}, {2, 0, 1});
  const Matrix<double> elements = (Matrix<double>(3, 1) << 0, 1, -1).finished();
  const std::vector<double> parameters{1, 2, 3, 4, 5, 6, 0.1, 0.2, 0.3, 7};
  std::vector<double> cache;
  Matrix<double> y(3, 1);
  Gru{1}.forward<double>(parameters.data(), elements, input.view(), y, cache, {});
  const double h1 = (1 - sigmoid(2.2)) * std::tanh(3.3);
  const double r = sigmoid(-0.9 + 4 * h1), z = sigmoid(-1.8 + 5 * h1), n = std::tanh(-2.7 + 6 * r * h1);
  CHECK(y(0, 0) == Approx(z * h1 + (1 - z) * n).epsilon(1e-13));
  CHECK(y(1, 0) == 7);
  CHECK(y(2, 0) == Approx(h1).epsilon(1e-13));
}

TEST_CASE("Gru: an element of weight 0 is not there") {
  const SequenceCase holed = one_sequence({3, 1, 3, 2, 3}, {0, 1, 0, 2, 0}, {5}), whole = one_sequence({1, 2}, {1, 2}, {2});
  const Gru gru{5};
  SequenceRun<float> first(gru, holed), second(gru, whole);
  second.elements = first.elements;
  first.step(gru, holed.view(), {});
  second.step(gru, whole.view(), {});
  CHECK(twotower::test::same_bytes(first.y, second.y));
  for (const Index position : {0, 2, 4}) CHECK((first.dpositions.row(position).array() == 0).all());
  CHECK(twotower::test::distance<float, float>(first.dpositions.row(1), second.dpositions.row(0)) < 1e-6);
  CHECK(twotower::test::distance<float, float>(first.dpositions.row(3), second.dpositions.row(1)) < 1e-6);
  CHECK(twotower::test::distance(first.dparameters, second.dparameters) < 1e-6);
}

TEST_CASE("Gru: no elements give the learned vector") {
  SequenceCase input;
  input.add_stranger(false);
  input.add({}, {}, {0});
  input.add({1, 1, 2}, {}, {2, 0});
  input.add_stranger(false);
  const Gru gru{3};
  SequenceRun<float> run(gru, input);
  run.step(gru, input.view(), {});
  for (const Index row : {0, 2}) CHECK(run.y.row(row) == run.parameters.rightCols(3));
  const Matrix<float> dempty = 1 + (run.dy.row(0) + run.dy.row(2)).array();
  CHECK(twotower::test::distance<float, float>(run.dparameters.rightCols(3), dempty) < 1e-6);
}

TEST_CASE("Gru: large inputs close its gates and overflow nothing") {
  const SequenceCase input = one_sequence({1, 2, 3}, {}, {3});
  const Gru gru{3};
  SequenceRun<float> run(gru, input);
  run.elements *= 1e6F;
  run.step(gru, input.view(), {});
  CHECK(run.y.cwiseAbs().maxCoeff() <= 1.001F);
  CHECK((run.y.array().isFinite().all() && run.dpositions.array().isFinite().all() && run.dparameters.array().isFinite().all()));
}

TEST_CASE("Gru: a NaN among the elements is noticed") {
  const SequenceCase input = one_sequence({1, 2, 3}, {}, {3, 1});
  const Gru gru{3};
  SequenceRun<float> run(gru, input);
  run.elements(2, 1) = std::numeric_limits<float>::quiet_NaN();
  gru.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  CHECK(run.y.row(0).array().isNaN().all());
  CHECK(run.y.row(1).array().isFinite().all());
}

TEST_CASE("Gru: starts within its limit, at zero bias, the same for float and double") {
  const Gru gru{20};
  std::vector<double> parameters(static_cast<std::size_t>(gru.parameter_count()), 9);
  std::vector<float> single(parameters.size(), 9);
  twotower::RandomStream random(3, twotower::Purpose::kInitialize), again = random;
  gru.initialize(parameters.data(), random);
  gru.initialize(single.data(), again);
  const double limit = std::sqrt(3.0 / 20);
  double square = 0;
  for (std::size_t k = 0; k < 2400; ++k) {
    CHECK(std::abs(parameters[k]) <= limit);
    CHECK(single[k] == static_cast<float>(parameters[k]));
    square += parameters[k] * parameters[k] / 2400;
  }
  CHECK(square == Approx(limit * limit / 3).epsilon(0.08));  // 2400 draws: standard error 1.8 %
  CHECK(std::all_of(parameters.begin() + 2400, parameters.begin() + 2460, [](double b) { return b == 0; }));
  CHECK(std::all_of(parameters.begin() + 2460, parameters.end(), [](double e) { return e != 0 && std::abs(e) < 0.06; }));
}

TEST_CASE("Gru: refuses widths below one") { CHECK_THROWS_WITH(Gru{0}.check(), "Gru: width is 0, but must be at least 1"); }
