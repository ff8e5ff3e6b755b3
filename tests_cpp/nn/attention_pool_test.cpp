#include "twotower/nn/attention_pool.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/sequence_kit.hpp"
#include "twotower/nn/mean_pool.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::AttentionPool;
using twotower::nn::MeanLength;
using twotower::nn::MeanPool;
using twotower::nn::Sequences;
using twotower::test::one_sequence;
using twotower::test::random_sequences;
using twotower::test::SequenceCase;
using twotower::test::SequenceRun;

namespace {

/// The formula of the header as it stands there: keys of all elements, no product moved to the query's side.
Matrix<double> naive_attention_pool(const AttentionPool& pool, const Matrix<double>& parameters, const Matrix<double>& elements,
                                    const Sequences& sequences) {
  const Index w = pool.width;
  const auto square = [&](Index first) -> Matrix<double> {
    return parameters.middleCols(first * w * w, w * w).reshaped<Eigen::RowMajor>(w, w);
  };
  const Matrix<double> query = square(0), key = square(1), value = square(2), start = parameters.middleCols(3 * w * w, w);
  Matrix<double> y(sequences.rows(), w);
  Index row = 0;
  for (Index s = 0; s < sequences.count(); ++s) {
    const Sequences one = sequences.part(s, s + 1);
    const auto weight = [&](Index j) {
      return one.weights.empty() ? 1.0 : double{one.weights[static_cast<std::size_t>(one.offsets[0] + j)]};
    };
    const auto x = [&](Index j) -> Matrix<double> {
      return elements.row(one.codes[static_cast<std::size_t>(one.offsets[0] + j)]);
    };
    for (std::int64_t r = one.readers[0]; r < one.readers[1]; ++r, ++row) {
      Index newest = one.lengths[static_cast<std::size_t>(r)] - 1;
      while (newest >= 0 && weight(newest) == 0) --newest;
      y.row(row) = parameters.rightCols(w);
      if (newest < 0) continue;
      const Matrix<double> asked = x(newest) * query + start;
      Matrix<double> sum = Matrix<double>::Zero(1, w);
      double divisor = 0;
      for (Index j = 0; j <= newest; ++j) {
        const Index lag = std::min(newest - j, pool.max_length - 1);
        const double score = asked.cwiseProduct(x(j) * key).sum() / std::sqrt(w) + parameters(0, 3 * w * w + w + lag);
        sum += weight(j) * std::exp(score) * x(j);
        divisor += weight(j) * std::exp(score);
      }
      y.row(row) = sum / divisor * value;
    }
  }
  return y;
}

}  // namespace

TEST_CASE("AttentionPool: does what every sequence encoder must") {
  const Index width = GENERATE(1, 2, 3, 17, 33), count = GENERATE(0, 1, 5, 13), max_length = GENERATE(1, 4, 20);
  // Random parameters instead of those of a start: the softmax's exponents are of the size of root width.
  twotower::test::check_sequence_encoder(AttentionPool{width, max_length}, random_sequences(count, 9, GENERATE(false, true), 3),
                                         {}, 30);
}

TEST_CASE("AttentionPool: agrees with plain loops") {
  const Index width = GENERATE(1, 5, 64), longest = GENERATE(1, 16, 33, 100);
  const AttentionPool pool{width, GENERATE(1, 7, 200)};
  const SequenceCase input = random_sequences(11, longest, GENERATE(false, true), 4);
  SequenceRun<double> run(pool, input);
  pool.forward<double>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  const Matrix<double> wanted = naive_attention_pool(pool, run.parameters, run.elements, input.view());
  CHECK(twotower::test::distance(run.y, wanted) < 1e-14 * static_cast<double>(4 + longest + width));
}

TEST_CASE("AttentionPool: two elements done on paper") {
  // width 1: W_q = 2, W_k = 3, W_v = 10, q_0 = -1, bias (.5, 0), empty 7; elements 1 and 2. q = 2 * 2 - 1 = 3, scores
  // 3 * 6 + .5 = 18.5 and 3 * 3 + 0 = 9; a = (1, e^9.5) / (1 + e^9.5), y = 10 (1 + 2 e^9.5) / (1 + e^9.5).
  const SequenceCase input = one_sequence({1, 2}, {}, {2});
  const Matrix<double> elements = (Matrix<double>(3, 1) << 0, 1, 2).finished();
  const std::vector<double> parameters{2, 3, 10, -1, 0.5, 0, 7};
  std::vector<double> cache;
  Matrix<double> y(1, 1);
  AttentionPool{1, 2}.forward<double>(parameters.data(), elements, input.view(), y, cache, {});
  CHECK(y(0, 0) == Approx(10 * (1 + 2 * std::exp(9.5)) / (1 + std::exp(9.5))).epsilon(1e-12));
}

TEST_CASE("AttentionPool: starts as the plain mean") {
  const Index width = 17;
  const AttentionPool pool{width, 5};
  const MeanPool mean{width, 1, MeanLength::kMean};
  const SequenceCase input = random_sequences(9, 12, GENERATE(false, true), 4);
  SequenceRun<double> run(pool, input), plain(mean, input);
  twotower::RandomStream random(1, twotower::Purpose::kInitialize);
  pool.initialize(run.parameters.data(), random);
  plain.parameters = run.parameters.rightCols(width);
  run.elements *= 1e-5;
  plain.elements = run.elements;
  pool.forward<double>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  mean.forward<double>(plain.parameters.data(), plain.elements, input.view(), plain.y, plain.cache, {});
  CHECK((run.y - plain.y).cwiseAbs().maxCoeff() < 1e-12);
  CHECK((run.y.row(0).array() != run.parameters.rightCols(width).array()).any());
}

TEST_CASE("AttentionPool: an element of weight 0 asks nothing, answers nothing and shifts no distance behind it") {
  // The reader of all four sees what the reader of two sees; the one in the middle only makes the first one older.
  const SequenceCase input = one_sequence({1, 2, 3, 4}, {1, 2, 0, 0}, {2, 4});
  const AttentionPool pool{5, 3};
  SequenceRun<float> run(pool, input);
  run.elements.row(3).setConstant(1e3F);  // a score that would have won
  run.step(pool, input.view(), {});
  CHECK(twotower::test::same_bytes<float>(run.y.row(0), run.y.row(1)));
  CHECK((run.dpositions.bottomRows(2).array() == 0).all());

  const SequenceCase holed = one_sequence({1, 3, 2}, {1, 0, 2}, {3});
  SequenceRun<float> hole(pool, holed);
  pool.forward<float>(hole.parameters.data(), hole.elements, holed.view(), hole.y, hole.cache, {});
  const Matrix<float> before = hole.y;
  hole.elements.row(3).setConstant(1e3F);
  hole.step(pool, holed.view(), {});
  CHECK(twotower::test::same_bytes(before, hole.y));
  CHECK((hole.dpositions.row(1).array() == 0).all());
}

TEST_CASE("AttentionPool: no elements, or none with weight, give the learned vector") {
  SequenceCase input;
  input.add_stranger(true);
  input.add({}, {}, {0});
  input.add({1, 1, 2}, {0, 0, 1}, {2, 3, 0});
  input.add_stranger(true);
  const AttentionPool pool{3, 4};
  SequenceRun<float> run(pool, input);
  run.step(pool, input.view(), {});
  for (const Index row : {0, 1, 3}) CHECK(run.y.row(row) == run.parameters.rightCols(3));
  CHECK(run.y.row(2) != run.parameters.rightCols(3));
  CHECK((run.dpositions.topRows(2).array() == 0).all());
  const Matrix<float> dempty = 1 + (run.dy.row(0) + run.dy.row(1) + run.dy.row(3)).array();
  CHECK(twotower::test::distance<float, float>(run.dparameters.rightCols(3), dempty) < 1e-6);
}

TEST_CASE("AttentionPool: scores of a thousand overflow nothing") {
  const SequenceCase input = one_sequence({1, 2, 3}, {}, {3});
  const AttentionPool pool{3, 4};
  SequenceRun<float> run(pool, input);
  run.elements *= 100;
  run.step(pool, input.view(), {});
  CHECK((run.y.array().isFinite().all() && run.dpositions.array().isFinite().all() && run.dparameters.array().isFinite().all()));
}

TEST_CASE("AttentionPool: a NaN among the elements is noticed") {
  const SequenceCase input = one_sequence({1, 2, 3}, {}, {3, 1});
  const AttentionPool pool{3, 4};
  SequenceRun<float> run(pool, input);
  run.elements(2, 1) = std::numeric_limits<float>::quiet_NaN();
  pool.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  CHECK(run.y.row(0).array().isNaN().all());
  CHECK(run.y.row(1).array().isFinite().all());
}

TEST_CASE("AttentionPool: refuses widths and lengths below one") {
  CHECK_THROWS_WITH((AttentionPool{0, 3}.check()), "AttentionPool: width is 0, but must be at least 1");
  CHECK_THROWS_WITH((AttentionPool{3, 0}.check()), "AttentionPool: max_length is 0, but must be at least 1");
}
