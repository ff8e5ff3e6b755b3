#include "twotower/nn/causal_attention.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::CausalAttention;
using twotower::test::random_matrix;

namespace {

/// Some queries over some keys, with everything that they need.
template <class Scalar>
struct AttentionRun {
  static constexpr Scalar kNaN = std::numeric_limits<Scalar>::quiet_NaN();
  std::vector<std::int32_t> lengths;
  CausalAttention<Scalar> attention;
  Matrix<Scalar> q, k, v, dy, y, dq, dk, dv;
  std::vector<Scalar> log_sums, scratch;

  AttentionRun(Index width, Index keys, std::vector<std::int32_t> its_lengths, Index queries)
      : lengths(std::move(its_lengths)),
        attention{width, lengths},
        q(random_matrix<Scalar>(queries, width, 1, 3)),
        k(random_matrix<Scalar>(keys, width, 2, 3)),
        v(random_matrix<Scalar>(keys, width, 3)),
        dy(random_matrix<Scalar>(queries, width, 4)),
        y(Matrix<Scalar>::Constant(queries, width, kNaN)),
        dq(y),
        dk(Matrix<Scalar>::Constant(keys, width, kNaN)),
        dv(dk),
        log_sums(static_cast<std::size_t>(queries), kNaN),
        scratch(static_cast<std::size_t>(CausalAttention<Scalar>::scratch_size(queries, keys, width)) + 1, Scalar(7)) {}

  void forward() {
    attention.forward(q, k, v, y, log_sums.data(), 1, scratch.data());
    CHECK(scratch.back() == 7);
  }

  void backward() {
    attention.backward(q, k, v, y, log_sums.data(), 1, dy, dq, dk, dv, scratch.data());
    CHECK(scratch.back() == 7);
  }

  Index length(Index i) const { return lengths.empty() ? i + 1 : lengths[static_cast<std::size_t>(i)]; }
};

Matrix<double> naive(const AttentionRun<double>& run) {
  Matrix<double> y = Matrix<double>::Zero(run.q.rows(), run.q.cols());
  for (Index i = 0; i < run.q.rows(); ++i) {
    double sum = 0;
    for (Index j = 0; j < run.length(i); ++j) {
      const double share = std::exp(run.q.row(i).dot(run.k.row(j)) / std::sqrt(static_cast<double>(run.q.cols())));
      sum += share;
      y.row(i) += share * run.v.row(j);
    }
    if (sum > 0) y.row(i) /= sum;
  }
  return y;
}

std::vector<std::int32_t> some_lengths(Index queries, Index keys) {
  twotower::RandomStream random(5, twotower::Purpose::kTest);
  std::vector<std::int32_t> lengths;
  for (Index i = 0; i < queries; ++i) lengths.push_back(static_cast<std::int32_t>(i == 3 ? keys : random.below(keys + 1)));
  return lengths;
}

}  // namespace

TEST_CASE("CausalAttention: a row done on paper") {
  // Width 1: scores 0 and log 3, so shares 1/4 and 3/4, y = (8 + 3 * 4) / 4 = 5, log_sum = log 4; the first query sees 8 alone.
  AttentionRun<double> run(1, 2, {}, 2);
  run.q << 5, 1;
  run.k << 0, std::log(3.0);
  run.v << 8, 4;
  run.forward();
  CHECK(run.y(0, 0) == Approx(8));
  CHECK(run.y(1, 0) == Approx(5));
  CHECK(run.log_sums[0] == Approx(0).margin(1e-15));
  CHECK(run.log_sums[1] == Approx(std::log(4.0)));
  // dy = (0, 1): dv = shares; ds = 1/4 (8 - 5), 3/4 (4 - 5) = 3/4, -3/4; dq = -3/4 log 3; dk = ds.
  run.dy << 0, 1;
  run.backward();
  CHECK((run.dv(0, 0) == Approx(0.25) && run.dv(1, 0) == Approx(0.75)));
  CHECK((run.dk(0, 0) == Approx(0.75) && run.dk(1, 0) == Approx(-0.75)));
  CHECK((run.dq(0, 0) == Approx(0).margin(1e-15) && run.dq(1, 0) == Approx(-0.75 * std::log(3.0))));
}

TEST_CASE("CausalAttention: agrees with plain loops, in order and in none") {
  const Index width = GENERATE(1, 5, 32, 40), keys = GENERATE(0, 1, 12, 13, 50);
  const bool ordered = GENERATE(true, false);
  const Index queries = ordered ? keys : 14;
  AttentionRun<double> run(width, keys, ordered ? std::vector<std::int32_t>{} : some_lengths(queries, keys), queries);
  run.forward();
  CHECK(twotower::test::distance(run.y, naive(run)) < 1e-14 * static_cast<double>(4 + width));

  AttentionRun<float> single(width, keys, run.lengths, queries);
  single.forward();
  CHECK(twotower::test::distance(single.y, run.y) < twotower::test::float_tolerance(width + keys, 10));
  run.backward();
  single.backward();
  CHECK(twotower::test::distance(single.dq, run.dq) < twotower::test::float_tolerance(width + keys, 10));
  CHECK(twotower::test::distance(single.dk, run.dk) < twotower::test::float_tolerance(width + keys, 10));
  CHECK(twotower::test::distance(single.dv, run.dv) < twotower::test::float_tolerance(width + keys, 10));
}

TEST_CASE("CausalAttention: gradients agree with central differences") {
  const Index width = GENERATE(1, 5), keys = GENERATE(1, 14);
  const bool ordered = GENERATE(true, false);
  const Index queries = ordered ? keys : 14;
  AttentionRun<double> run(width, keys, ordered ? std::vector<std::int32_t>{} : some_lengths(queries, keys), queries);
  run.forward();
  run.backward();
  double worst = 0;
  const auto compare = [&](Matrix<double>& x, const Matrix<double>& dx) {
    for (Index n = 0; n < x.size(); ++n) {
      const double kept = x.data()[n];
      x.data()[n] = kept + 1e-6;
      const Matrix<double> above = naive(run);
      x.data()[n] = kept - 1e-6;
      const Matrix<double> below = naive(run);
      x.data()[n] = kept;
      const double error = std::abs((above - below).cwiseProduct(run.dy).sum() / 2e-6 - dx.data()[n]);
      worst = error <= worst ? worst : error;
    }
  };
  compare(run.q, run.dq);
  compare(run.k, run.dk);
  compare(run.v, run.dv);
  CHECK(worst < 1e-7);
}

TEST_CASE("CausalAttention: a row's bits depend on what it sees alone") {
  const Index keys = 50, queries = 14;
  AttentionRun<float> run(24, keys, some_lengths(queries, keys), queries);
  run.forward();
  for (Index i = 0; i < queries; ++i) {
    AttentionRun<float> alone(24, run.length(i), {static_cast<std::int32_t>(run.length(i))}, 1);
    alone.q = run.q.row(i);
    alone.k = run.k.topRows(run.length(i));
    alone.v = run.v.topRows(run.length(i));
    alone.forward();
    CHECK(twotower::test::same_bytes<float>(alone.y, run.y.row(i)));
  }
}

TEST_CASE("CausalAttention: scores of a thousand overflow nothing") {
  AttentionRun<float> run(4, 20, {}, 20);
  run.q *= 300;
  run.k *= 300;
  run.forward();
  run.backward();
  CHECK((run.y.allFinite() && run.dq.allFinite() && run.dk.allFinite() && run.dv.allFinite()));
}
