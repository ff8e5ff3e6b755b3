#include "twotower/nn/causal_transformer.hpp"

#include "support/catch.hpp"
#include "support/naive.hpp"
#include "support/sequence_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::RowVector;
using twotower::nn::CausalTransformer;
using twotower::nn::Pass;
using twotower::nn::Sequences;
using twotower::test::random_sequences;
using twotower::test::SequenceCase;
using twotower::test::SequenceRun;

namespace {

/// Takes matrices from the parameters one after the other.
struct Reader {
  const double* next;

  Matrix<double> matrix(Index rows, Index width) {
    const Matrix<double> found = Eigen::Map<const Matrix<double>>(next, rows, width);
    next += rows * width;
    return found;
  }

  Matrix<double> dense(const Matrix<double>& x, Index out) {
    const Matrix<double> w = matrix(x.cols(), out), b = matrix(1, out);
    return twotower::test::naive::dense(w, b.row(0), x);
  }

  Matrix<double> layer_norm(const Matrix<double>& x) {
    const Matrix<double> gain = matrix(1, x.cols()), bias = matrix(1, x.cols()), z = twotower::test::naive::layer_norm(x, 1e-5);
    return (z.array().rowwise() * gain.row(0).array()).rowwise() + bias.row(0).array();
  }
};

Matrix<double> attention(const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v, Index heads) {
  const Index n = q.rows(), width = q.cols() / heads;
  Matrix<double> y = Matrix<double>::Zero(n, q.cols());
  for (Index head = 0; head < heads; ++head)
    for (Index i = 0; i < n; ++i) {
      std::vector<double> shares;
      double sum = 0;
      for (Index j = 0; j <= i; ++j) {
        double score = 0;
        for (Index c = head * width; c < (head + 1) * width; ++c) score += q(i, c) * k(j, c);
        shares.push_back(std::exp(score / std::sqrt(static_cast<double>(width))));
        sum += shares.back();
      }
      for (Index j = 0; j <= i; ++j)
        for (Index c = head * width; c < (head + 1) * width; ++c) y(i, c) += shares[static_cast<std::size_t>(j)] / sum * v(j, c);
    }
  return y;
}

/// Every row that the transformer makes of one sequence.
Matrix<double> naive_rows(const CausalTransformer& t, const Matrix<double>& parameters, const Matrix<double>& elements) {
  Reader reader{parameters.data()};
  const Index d = t.width;
  Matrix<double> x = elements + reader.matrix(t.max_length, d).topRows(elements.rows());
  reader.matrix(1, d);  // empty
  for (Index b = 0; b < t.blocks; ++b) {
    const Matrix<double> h = reader.layer_norm(x), q = reader.dense(h, d), kv = reader.dense(h, 2 * d);
    x += reader.dense(attention(q, kv.leftCols(d), kv.rightCols(d), t.heads), d);
    const Matrix<double> inner = reader.dense(reader.layer_norm(x), t.feed_forward ? t.feed_forward : d);
    x += reader.dense(inner.unaryExpr([](double u) { return twotower::test::naive::tanh_gelu(u); }), d);
  }
  const Matrix<double> y = reader.layer_norm(x);
  CHECK(reader.next == parameters.data() + parameters.size());
  return y;
}

/// One sequence of `length` elements with the readers asked for.
SequenceCase one_sequence(Index length, const std::vector<std::int32_t>& readers) {
  SequenceCase input;
  input.add_stranger(false);
  std::vector<twotower::Row> codes;
  for (Index j = 0; j < length; ++j) codes.push_back(static_cast<twotower::Row>(j + 1));
  input.add(codes, {}, readers);
  input.add_stranger(false);
  return input;
}

std::vector<std::int32_t> all_lengths(Index longest) {
  std::vector<std::int32_t> lengths;
  for (Index m = 0; m <= longest; ++m) lengths.push_back(static_cast<std::int32_t>(m));
  return lengths;
}

constexpr Pass kTraining{true, 5, 17, 100};
constexpr double kCondition = 20;  // LayerNorm divides by deviations

}  // namespace

TEST_CASE("CausalTransformer: does what every sequence encoder must, in training and outside") {
  const auto [width, heads, blocks, inner] =
      GENERATE(std::tuple<Index, Index, Index, Index>{1, 1, 1, 0}, std::tuple<Index, Index, Index, Index>{4, 2, 2, 7},
               std::tuple<Index, Index, Index, Index>{6, 3, 1, 0}, std::tuple<Index, Index, Index, Index>{8, 1, 3, 5});
  const auto [count, longest] =
      GENERATE(std::pair<Index, Index>{0, 0}, std::pair<Index, Index>{1, 0}, std::pair<Index, Index>{1, 1},
               std::pair<Index, Index>{3, 13}, std::pair<Index, Index>{11, 5});
  const SequenceCase input = random_sequences(count, longest, false, 3);
  twotower::test::check_sequence_encoder(CausalTransformer{width, heads, blocks, 13, 1, 0, inner}, input, {}, kCondition);
  twotower::test::check_sequence_encoder(CausalTransformer{width, heads, blocks, 13, 0.7, 2, inner}, input, kTraining,
                                         kCondition);
}

TEST_CASE("CausalTransformer: agrees with plain loops") {
  const auto [width, heads, blocks, inner] =
      GENERATE(std::tuple<Index, Index, Index, Index>{3, 1, 1, 0}, std::tuple<Index, Index, Index, Index>{10, 5, 2, 3},
               std::tuple<Index, Index, Index, Index>{33, 3, 2, 0}, std::tuple<Index, Index, Index, Index>{64, 2, 3, 100});
  const Index length = GENERATE(1, 2, 13, 31, 53);
  const CausalTransformer encoder{width, heads, blocks, 53, 1, 0, inner};
  const SequenceCase input = one_sequence(length, all_lengths(length));
  SequenceRun<double> run(encoder, input);
  // Large products: scores of different sizes.
  run.parameters *= 1.5;
  encoder.forward<double>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  const Matrix<double> wanted = naive_rows(encoder, run.parameters, run.elements.bottomRows(length));
  CHECK(twotower::test::distance<double, double>(run.y.bottomRows(length), wanted) < 1e-12 * static_cast<double>(10 + width));
  CHECK(run.y.row(0) == run.parameters.middleCols(53 * width, width));  // length 0: `empty`
}

TEST_CASE("CausalTransformer: no reader sees what lies behind its length") {
  const Index changed = GENERATE(0, 1, 6, 12);
  const CausalTransformer encoder{8, 2, 2, 13};
  const SequenceCase input = one_sequence(13, all_lengths(13));
  SequenceRun<float> run(encoder, input);
  encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  const Matrix<float> before = run.y;
  run.elements.row(changed + 1).array() += 1;
  run.elements.row(changed + 1)[0] -= 3;  // LayerNorm would forgive a shift of the whole row
  encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  CHECK(run.y.topRows(changed + 1) == before.topRows(changed + 1));
  for (Index m = changed + 1; m <= 13; ++m) CHECK(run.y.row(m) != before.row(m));
}

TEST_CASE("CausalTransformer: the order of the elements counts") {
  const CausalTransformer encoder{8, 2, 1, 5};
  SequenceCase input = one_sequence(5, {5});
  SequenceRun<float> run(encoder, input);
  encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  const Matrix<float> before = run.y;
  std::swap(input.codes[3], input.codes[4]);  // of a stranger's three come first
  encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {});
  CHECK(run.y != before);
}

TEST_CASE("CausalTransformer: readers have the same bits alone and in company, for the widths in use") {
  const auto [width, heads] = GENERATE(std::pair<Index, Index>{17, 1}, std::pair<Index, Index>{64, 2},
                                       std::pair<Index, Index>{96, 3}, std::pair<Index, Index>{200, 4});
  const CausalTransformer encoder{width, heads, 2, 70};
  // More rows than a chunk, and sequences longer than one.
  twotower::test::check_companions(encoder, random_sequences(17, 70, false, 9));
}

TEST_CASE("CausalTransformer: a call of many chunks gives what its parts give, however long a sequence is") {
  const auto [count, longest] = GENERATE(std::pair<Index, Index>{150, 20}, std::pair<Index, Index>{3, 300});
  const SequenceCase input = random_sequences(count, longest, false, 4);
  const CausalTransformer encoder{4, 2, 2, 300};
  twotower::test::check_parts(encoder, input, kCondition * 1e-13 * static_cast<double>(4 + input.view().positions()));
}

TEST_CASE("CausalTransformer: dropout depends on seed, step, stream and the position in the batch alone") {
  const SequenceCase input = random_sequences(9, 13, false, 6);
  const Sequences all = input.view();
  const CausalTransformer encoder{8, 2, 2, 13, 0.6, 3};
  const auto rows = [&](const CausalTransformer& its, const Sequences& sequences, const Pass& pass) {
    SequenceRun<float> run(its, input);
    Matrix<float> y(sequences.rows(), 8);
    its.forward<float>(run.parameters.data(), run.elements, sequences, y, run.cache, pass);
    return y;
  };
  const Matrix<float> whole = rows(encoder, all, kTraining);
  for (const Index first : {1, 4, 7}) {
    Pass pass = kTraining;
    pass.first_row += all.part(0, first).positions();
    const Sequences part = all.part(first, 9);
    CHECK(rows(encoder, part, pass) == whole.bottomRows(part.rows()));
  }
  CHECK(rows(encoder, all, {}) != whole);
  CHECK(rows(encoder, all, {true, 6, 17, 100}) != whole);
  CHECK(rows(encoder, all, {true, 5, 18, 100}) != whole);
  CHECK(rows(encoder, all, {true, 5, 17, 101}) != whole);
  CHECK(rows({8, 2, 2, 13, 0.6, 4}, all, kTraining) != whole);
  CHECK(rows({8, 2, 2, 13, 1.0, 3}, all, kTraining) == rows(encoder, all, {}));
}

TEST_CASE("CausalTransformer: in training a reader gets the same bits whoever is beside it") {
  const SequenceCase input = one_sequence(13, {13, 5, 13, 0, 1}), few = one_sequence(13, {5});
  const CausalTransformer encoder{8, 2, 2, 13, 0.6, 3};
  SequenceRun<float> run(encoder, input), alone(encoder, few);
  encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, kTraining);
  encoder.forward<float>(run.parameters.data(), run.elements, few.view(), alone.y, alone.cache, kTraining);
  CHECK(run.y.row(0) == run.y.row(2));
  CHECK(run.y.row(1) == alone.y.row(0));
}

TEST_CASE("CausalTransformer: starts at gains 1, biases 0 and small weights, the same for float and double") {
  const CausalTransformer encoder{16, 2, 2, 10};
  const auto count = static_cast<std::size_t>(encoder.parameter_count());
  // positions and empty, two blocks of norms (2 x 32), four squares and the double one with biases, the last norm
  REQUIRE(count == 11 * 16 + 2 * (64 + 6 * 256 + 6 * 16) + 32);
  std::vector<double> parameters(count, 9);
  std::vector<float> single(count, 9);
  twotower::RandomStream random(3, twotower::Purpose::kInitialize), again = random;
  encoder.initialize(parameters.data(), random);
  encoder.initialize(single.data(), again);
  double square = 0, drawn = 0;
  Index ones = 0, zeros = 0;
  for (std::size_t k = 0; k < count; ++k) {
    CHECK(single[k] == static_cast<float>(parameters[k]));
    ones += parameters[k] == 1;
    zeros += parameters[k] == 0;
    if (parameters[k] == 0 || parameters[k] == 1) continue;
    square += parameters[k] * parameters[k];
    drawn += 1;
  }
  CHECK(ones == 5 * 16);
  CHECK(zeros == 5 * 16 + 2 * 6 * 16);
  CHECK(std::sqrt(square / drawn) == Approx(0.02).epsilon(0.06));  // 3248 draws: standard error 1.2 %
}

TEST_CASE("CausalTransformer: refuses sequences that are too long and specs without sense") {
  const SequenceCase input = random_sequences(3, 13, false, 3);
  const CausalTransformer encoder{4, 2, 1, 12};
  SequenceRun<float> run(encoder, input);
  CHECK_THROWS_AS(encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {}),
                  std::invalid_argument);
  CHECK_THROWS_WITH(encoder.forward<float>(run.parameters.data(), run.elements, input.view(), run.y, run.cache, {}),
                    "CausalTransformer: length of sequence 0 is 13, but max_length is 12; keep the newest elements only, or make "
                    "max_length larger");
  CHECK_THROWS_WITH((CausalTransformer{0, 1, 1, 5}.check()), "CausalTransformer: width is 0, but must be at least 1");
  CHECK_THROWS_WITH((CausalTransformer{4, 0, 1, 5}.check()), "CausalTransformer: heads is 0, but must be at least 1");
  CHECK_THROWS_WITH((CausalTransformer{4, 1, 0, 5}.check()), "CausalTransformer: blocks is 0, but must be at least 1");
  CHECK_THROWS_WITH((CausalTransformer{4, 1, 1, 0}.check()), "CausalTransformer: max_length is 0, but must be at least 1");
  CHECK_THROWS_WITH((CausalTransformer{64, 3, 1, 5}.check()),
                    "CausalTransformer: heads is 3, but must divide width, which is 64");
  CHECK_THROWS_WITH((CausalTransformer{4, 1, 1, 5, 0.0}.check()),
                    "CausalTransformer: keep_probability is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH((CausalTransformer{4, 1, 1, 5, 1.5}.check()),
                    "CausalTransformer: keep_probability is 1.5, but must be in [0, 1]");
  CHECK_THROWS_WITH((CausalTransformer{4, 1, 1, 5, 0.5, 0, -1}.check()),
                    "CausalTransformer: feed_forward is -1, but must be at least 0");
  CHECK_THROWS_WITH((CausalTransformer{4, 1, 2, 5, 0.5, (1U << 24) - 4}.check()),
                    "CausalTransformer: stream is 16777212, but it and the 4 behind it must be below 16777216");
  CHECK_NOTHROW((CausalTransformer{4, 1, 2, 5, 0.5, (1U << 24) - 5}.check()));
}
