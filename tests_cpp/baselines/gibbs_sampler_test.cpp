#include "twotower/baselines/gibbs_sampler.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace twotower;
using baselines::GibbsSampler;

namespace {

struct Problem {
  Matrix<double> truth;
  SparseRows ratings;
};

/// Ratings of a product of two factors and noise of deviation 0.5, about half of them given.
Problem problem(Index queries, Index items) {
  const Matrix<double> left = test::random_matrix<double>(queries, 2, 1, 2), right = test::random_matrix<double>(items, 2, 2, 2);
  Problem out{left * right.transpose(), {}};
  RandomStream random(3, Purpose::kTest);
  std::vector<Row> rows, columns;
  std::vector<float> values;
  for (Index q = 0; q < queries; ++q)
    for (Index i = 0; i < items; ++i)
      if (random.uniform() < 0.5) {
        rows.push_back(static_cast<Row>(q));
        columns.push_back(static_cast<Row>(i));
        values.push_back(static_cast<float>(3 + out.truth(q, i) + 0.5 * random.normal()));
      }
  out.ratings = SparseRows::of_pairs("problem", rows, columns, values, queries, items);
  return out;
}

}  // namespace

TEST_CASE("gibbs_sampler: finds the factors behind ratings, and how much noise there is") {
  const Problem given = problem(120, 90);
  GibbsSampler sampler(given.ratings, 3, 7);
  Matrix<double> sum = Matrix<double>::Zero(120, 90);
  double precision = 0;
  constexpr int kSamples = 40;
  for (int sweep = 0; sweep < 20 + kSamples; ++sweep) {
    sampler.sweep(Threads(2));
    if (sweep < 20) continue;
    sum += sampler.queries().cast<double>() * sampler.items().cast<double>().transpose();
    precision += sampler.noise_precision() / kSamples;
  }
  const Matrix<double> error = (sum / kSamples).array() + sampler.mean() - 3 - given.truth.array();
  // The truth varies by 1.3; about 45 noisy ratings a row determine 2 numbers of it.
  CHECK(std::sqrt(error.squaredNorm() / static_cast<double>(error.size())) < 0.25);
  CHECK(precision == Approx(4).epsilon(0.1));
}

TEST_CASE("gibbs_sampler: the same bytes for any number of threads, others for another seed") {
  const Problem given = problem(70, 40);
  std::vector<Matrix<float>> found;
  for (const int threads : {1, 2, 7}) {
    GibbsSampler sampler(given.ratings, 5, 1);
    for (int sweep = 0; sweep < 3; ++sweep) sampler.sweep(Threads(threads));
    found.push_back(sampler.queries());
    CHECK(sampler.items().allFinite());
  }
  CHECK(found[1] == found[0]);
  CHECK(found[2] == found[0]);
  GibbsSampler other(given.ratings, 5, 2);
  for (int sweep = 0; sweep < 3; ++sweep) other.sweep(Threads(1));
  CHECK(other.queries() != found[0]);
}

TEST_CASE("gibbs_sampler: rows without ratings are draws of their side, and nothing is refused by name") {
  const SparseRows ratings("ratings", {0, 1, 1, 1}, {0}, {4}, 2);
  GibbsSampler sampler(ratings, 2, 1);
  for (int sweep = 0; sweep < 5; ++sweep) sampler.sweep(Threads(1));
  CHECK(sampler.queries().allFinite());
  CHECK(sampler.queries().row(1) != sampler.queries().row(2));
  CHECK(sampler.mean() == 4);
  CHECK_THROWS_WITH(GibbsSampler(SparseRows(), 2, 1), "GibbsSampler: the number of ratings is 0, but must be at least 1");
  CHECK_THROWS_WITH(GibbsSampler(ratings, 0, 1), "GibbsSampler: width is 0, but must be at least 1");
}
