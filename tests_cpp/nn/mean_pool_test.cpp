#include "twotower/nn/mean_pool.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/sequence_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::Row;
using twotower::nn::MeanLength;
using twotower::nn::MeanPool;
using twotower::nn::Sequences;
using twotower::test::random_matrix;
using twotower::test::random_sequences;
using twotower::test::SequenceCase;
using twotower::test::SequenceRun;

namespace {

/// The formula of the header as it stands there.
Matrix<double> naive_mean_pool(const MeanPool& pool, const Matrix<double>& parameters, const Matrix<double>& elements,
                               const Sequences& sequences) {
  Matrix<double> y(sequences.rows(), pool.width);
  Index row = 0;
  for (Index s = 0; s < sequences.count(); ++s) {
    const Sequences one = sequences.part(s, s + 1);
    for (std::int64_t r = one.readers[0]; r < one.readers[1]; ++r, ++row) {
      const Index length = one.lengths[static_cast<std::size_t>(r)];
      Matrix<double> sum = Matrix<double>::Zero(1, pool.width);
      double divisor = 0;
      for (Index j = 0; j < length; ++j) {
        const auto p = static_cast<std::size_t>(one.offsets[0] + j);
        const double weight =
            (one.weights.empty() ? 1 : double{one.weights[p]}) * std::pow(pool.decay, static_cast<double>(length - 1 - j));
        sum += weight * elements.row(one.codes[p]);
        divisor += weight;
      }
      if (divisor == 0)
        y.row(row) = parameters.leftCols(pool.width);
      else if (pool.length == MeanLength::kUnit)
        y.row(row) = parameters(0, pool.width) * (sum / divisor) / std::max((sum / divisor).norm(), 1e-6);
      else
        y.row(row) = sum / (pool.length == MeanLength::kRoot ? std::sqrt(divisor) : divisor);
    }
  }
  return y;
}

}  // namespace

TEST_CASE("MeanPool: does what every sequence encoder must") {
  const Index width = GENERATE(1, 2, 3, 17, 85), count = GENERATE(0, 1, 5, 13);
  const double decay = GENERATE(1.0, 0.7);
  const MeanLength length = GENERATE(MeanLength::kMean, MeanLength::kUnit, MeanLength::kRoot);
  const bool weighted = GENERATE(false, true);
  // Means of random elements are shorter than the elements, and dividing by their length enlarges what rounding did before.
  twotower::test::check_sequence_encoder(MeanPool{width, decay, length}, random_sequences(count, 9, weighted, 3), {},
                                         length == MeanLength::kUnit ? 1000 : 1);
}

TEST_CASE("MeanPool: agrees with plain loops") {
  const Index width = GENERATE(1, 5, 64), longest = GENERATE(1, 16, 33, 257);
  const MeanPool pool{width, GENERATE(1.0, 0.5, 0.99), GENERATE(MeanLength::kMean, MeanLength::kUnit, MeanLength::kRoot)};
  const SequenceCase input = random_sequences(11, longest, GENERATE(false, true), 4);
  SequenceRun<double> run(pool, input);
  pool.forward<double>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  const Matrix<double> wanted = naive_mean_pool(pool, run.parameters, run.elements, input.view());
  CHECK(twotower::test::distance(run.y, wanted) < 1e-14 * static_cast<double>(4 + longest));
}

TEST_CASE("MeanPool: a mean done on paper") {
  // Elements 8, 2, 5 with weights 1, 0, 2 and decay 1/2: the divisor is 1/4 + 0 + 2 = 9/4, the sum 8/4 + 10 = 12, the mean 16/3.
  // Shares of 8 and 5: (1/4) / (9/4) = 1/9 and 8/9. The reader of length 2 sees the 8 only, whatever its age.
  SequenceCase input;
  input.add_stranger(true);
  input.add({1, 2, 3}, {1, 0, 2}, {3, 2});
  input.add_stranger(true);
  const Matrix<double> elements = (Matrix<double>(4, 1) << 0, 8, 2, 5).finished(), dy = (Matrix<double>(2, 1) << 9, 7).finished();
  const std::vector<double> parameters{100};
  std::vector<double> cache, dparameters{1000};
  Matrix<double> y(2, 1), dpositions(3, 1);
  const MeanPool pool{1, 0.5, MeanLength::kMean};
  pool.forward<double>(parameters.data(), elements, input.view(), y, cache, {});
  pool.backward<double>(parameters.data(), elements, input.view(), dy, dpositions, cache, dparameters.data(), {});
  CHECK(y(0, 0) == Approx(16.0 / 3));
  CHECK(y(1, 0) == Approx(8));
  CHECK(dpositions(0, 0) == Approx(1 + 7));
  CHECK(dpositions(1, 0) == 0);
  CHECK(dpositions(2, 0) == Approx(8));
  CHECK(dparameters[0] == 1000);
}

TEST_CASE("MeanPool: no elements, or none with weight, give the learned vector") {
  SequenceCase input;
  input.add_stranger(true);
  input.add({}, {}, {0});
  input.add({1, 1, 2}, {0, 0, 1}, {2, 3, 0});
  input.add_stranger(true);
  const MeanPool pool{3, 1, GENERATE(MeanLength::kMean, MeanLength::kUnit, MeanLength::kRoot)};
  SequenceRun<float> run(pool, input);
  run.step(pool, input.view(), {});
  for (const Index row : {0, 1, 3}) CHECK(run.y.row(row) == run.parameters.leftCols(3));
  CHECK(run.y.row(2) != run.parameters.leftCols(3));
  CHECK((run.dpositions.topRows(2).array() == 0).all());
  const Matrix<float> dempty = 1 + (run.dy.row(0) + run.dy.row(1) + run.dy.row(3)).array();
  CHECK(twotower::test::distance<float, float>(run.dparameters.leftCols(3), dempty) < 1e-6);
}

TEST_CASE("MeanPool: normalized, the length is the gain, and a mean of 0 stays 0 with a finite gradient") {
  SequenceCase input;
  input.add_stranger(false);
  input.add({1, 1}, {}, {2});
  input.add({2}, {}, {1});
  input.add_stranger(false);
  const MeanPool pool{2};
  SequenceRun<double> run(pool, input);
  run.elements.row(1) << 3, 4;
  run.elements.row(2).setZero();
  run.parameters(0, 2) = 10;
  run.step(pool, input.view(), {});
  CHECK(run.y(0, 0) == Approx(6));
  CHECK(run.y(0, 1) == Approx(8));
  CHECK((run.y.row(1).array() == 0).all());
  CHECK(twotower::test::distance<double, double>(run.dpositions.row(2), run.dy.row(1) * 10 / 1e-6) < 1e-12);
}

TEST_CASE("MeanPool: a long sequence of old weight neither under- nor overflows") {
  // Only the oldest of 5000 elements weighs anything: .5^4999 is no double, but the mean is that element.
  std::vector<Row> codes(5000, 2);
  std::vector<float> weights(5000, 0);
  codes[0] = 1;
  weights[0] = 1e-30F;
  SequenceCase input;
  input.add_stranger(true);
  input.add(codes, weights, {5000});
  input.add_stranger(true);
  const MeanPool pool{3, 0.5, MeanLength::kMean};
  SequenceRun<float> run(pool, input);
  run.step(pool, input.view(), {});
  CHECK(run.y.row(0) == run.elements.row(1));
  CHECK(run.dpositions.row(0) == run.dy.row(0));
  CHECK((run.dpositions.bottomRows(4999).array() == 0).all());
  std::vector<float> found(5000, 9);
  pool.weigh(input.view(), found);
  CHECK((found[0] == 1 && found[1] == 0 && found[4999] == 0));
}

TEST_CASE("MeanPool: one reader a sequence, the mean is the weighted sum, and gradients go by it") {
  const MeanPool pool{GENERATE(1, 5, 64), GENERATE(1.0, 0.6), GENERATE(MeanLength::kMean, MeanLength::kUnit, MeanLength::kRoot)};
  const bool weighted = GENERATE(false, true);
  SequenceCase input;
  input.add_stranger(weighted);
  input.add({1, 2, 1, 3}, {1, 0.5F, 2, 1}, {4});
  input.add({4, 2, 5, 3}, {2, 1, 0, 1}, {3});
  input.add({}, {}, {0});
  input.add({5, 1}, {0, 0}, {2});
  input.add({2, 2, 4}, {1, 3, 0}, {0});
  input.add_stranger(weighted);
  const Sequences sequences = input.view();
  REQUIRE(sequences.one_reader_each());
  SequenceRun<double> run(pool, input), sums(pool, input);
  run.step(pool, sequences, {});
  std::vector<float> weights(static_cast<std::size_t>(sequences.positions()), 9);
  Matrix<double> dsums = Matrix<double>::Constant(sequences.rows(), pool.width, 9);
  pool.weigh(sequences, weights);
  pool.forward<double>(sums.parameters.data(), sums.elements, sequences, sums.y, sums.cache, {});
  pool.backward_to_sums<double>(sums.parameters.data(), sequences, sums.dy, dsums, sums.cache, sums.dparameters.data());
  CHECK(twotower::test::same_bytes(sums.dparameters, run.dparameters));
  for (Index s = 0; s < sequences.count(); ++s) {
    Matrix<double> mean = Matrix<double>::Zero(1, pool.width);
    double total = 0;
    for (std::int64_t p = sequences.offsets[static_cast<std::size_t>(s)]; p < sequences.offsets[static_cast<std::size_t>(s) + 1];
         ++p) {
      const std::int64_t position = p - sequences.offsets[0];
      const double weight = double{weights[static_cast<std::size_t>(position)]};
      total += weight;
      mean += weight * run.elements.row(sequences.codes[static_cast<std::size_t>(p)]);
      const Matrix<double> wanted = run.dpositions.row(position), got = weight * dsums.row(s);
      CHECK(twotower::test::distance(got, wanted) < 1e-6);  // weights are floats
    }
    if (total == 0)
      CHECK(((dsums.row(s).array() == 0).all() && run.y.row(s) == run.parameters.leftCols(pool.width)));
    else
      CHECK(total == Approx(1));
    if (total > 0 && pool.length == MeanLength::kMean) CHECK(twotower::test::distance<double, double>(mean, run.y.row(s)) < 1e-6);
  }
}

TEST_CASE("Sequences: one reader each, or not") {
  SequenceCase input = twotower::test::one_sequence({1, 2}, {}, {2});
  CHECK(input.view().one_reader_each());
  CHECK(input.view().part(0, 0).one_reader_each());
  CHECK(!Sequences{input.offsets, input.codes, {}, input.readers, input.lengths}.one_reader_each());
}

TEST_CASE("MeanPool: readers in any order have the bits of ascending ones") {
  const std::vector<Row> codes{1, 2, 3, 4, 5, 6, 7};
  const auto build = [&](const std::vector<std::int32_t>& lengths) {
    SequenceCase input;
    input.add_stranger(false);
    input.add(codes, {}, lengths);
    input.add_stranger(false);
    return input;
  };
  const SequenceCase up = build({0, 2, 2, 5, 7}), down = build({7, 5, 2, 2, 0});
  const MeanPool pool{17, 0.9};
  SequenceRun<float> first(pool, up), second(pool, down);
  second.dy = first.dy.colwise().reverse();
  first.step(pool, up.view(), {});
  second.step(pool, down.view(), {});
  CHECK(twotower::test::same_bytes<float>(second.y.colwise().reverse(), first.y));
  CHECK(twotower::test::distance(second.dpositions, first.dpositions) < 1e-6);
}

TEST_CASE("MeanPool: a NaN among the elements is noticed") {
  SequenceCase input;
  input.add_stranger(false);
  input.add({1, 2, 3}, {}, {3, 1});
  input.add_stranger(false);
  const MeanPool pool{3};
  SequenceRun<float> run(pool, input);
  run.elements(2, 1) = std::numeric_limits<float>::quiet_NaN();
  pool.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  CHECK(run.y.row(0).array().isNaN().all());
  CHECK(run.y.row(1).array().isFinite().all());
}

TEST_CASE("MeanPool: starts with a small vector for nothing and gain 1") {
  const MeanPool pool{500};
  Matrix<float> parameters = Matrix<float>::Constant(1, pool.parameter_count(), 9);
  twotower::RandomStream random(1, twotower::Purpose::kInitialize);
  pool.initialize(parameters.data(), random);
  CHECK(parameters(0, 500) == 1);  // 500 draws: standard error of the deviation 3.2 %
  CHECK(std::sqrt(parameters.leftCols(500).array().square().mean()) == Approx(0.01).epsilon(0.15));
  CHECK(MeanPool{500, 1, MeanLength::kMean}.parameter_count() == 500);
}

TEST_CASE("MeanPool: refuses widths below one and decays outside (0, 1]") {
  CHECK_THROWS_WITH(MeanPool{0}.check(), "MeanPool: width is 0, but must be at least 1");
  CHECK_THROWS_WITH((MeanPool{3, 0.0}.check()), "MeanPool: decay is 0, but must be above 0 and at most 1");
  CHECK_THROWS_WITH((MeanPool{3, 1.5}.check()), "MeanPool: decay is 1.5, but must be above 0 and at most 1");
  CHECK_THROWS_WITH((MeanPool{3, std::numeric_limits<double>::quiet_NaN()}.check()),
                    "MeanPool: decay is nan, but must be above 0 and at most 1");
}
