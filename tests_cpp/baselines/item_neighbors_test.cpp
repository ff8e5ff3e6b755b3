#include "twotower/baselines/item_neighbors.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/sparse.hpp"

using namespace twotower;
using baselines::Likeness;

namespace {

/// Every pair of items, as the formulas are written.
Matrix<double> likenesses(Matrix<double> met, Likeness kind, double shrink) {
  const Index items = met.cols();
  for (Index q = 0; q < met.rows(); ++q) {
    const double count = static_cast<double>((met.row(q).array() > 0).count());
    if (kind == Likeness::kJaccard) met.row(q) = (met.row(q).array() > 0).cast<double>().matrix();
    if (kind == Likeness::kTfIdf) met.row(q) *= std::log(static_cast<double>(1 + items) / (1 + count)) + 1;
  }
  Matrix<double> out = Matrix<double>::Zero(items, items);
  for (Index a = 0; a < items; ++a)
    for (Index b = 0; b < items; ++b) {
      const double both = met.col(a).dot(met.col(b));
      if (a == b || both == 0) continue;
      out(a, b) = kind == Likeness::kJaccard ? both / (met.col(a).sum() + met.col(b).sum() - both + shrink)
                                             : both / (met.col(a).norm() * met.col(b).norm() + shrink);
    }
  return out;
}

}  // namespace

TEST_CASE("item_neighbors: agrees with all pairs, for any number of threads") {
  const Likeness kind = GENERATE(Likeness::kCosine, Likeness::kJaccard, Likeness::kTfIdf);
  const double shrink = GENERATE(0.0, 3.0);
  const Index items = GENERATE(1, 33, 70);
  const SparseRows met = test::random_sparse(40, items, 0.15, 1);
  const Matrix<double> expected = likenesses(test::dense(met).cast<double>(), kind, shrink);
  const SparseRows all = baselines::item_neighbors(met, items, kind, shrink, Threads(1));
  CHECK((test::dense(all).cast<double>() - expected).cwiseAbs().maxCoeff() < 1e-6);

  const SparseRows few = baselines::item_neighbors(met, 4, kind, shrink, Threads(1));
  for (Index item = 0; item < items; ++item) {
    CHECK(few.size_of(item) == std::min<Index>(4, all.size_of(item)));
    CHECK(std::is_sorted(few.columns_of(item).begin(), few.columns_of(item).end()));
    // No item that was left out is nearer than one that is in.
    Matrix<float> left = test::dense(all).row(item);
    float least = std::numeric_limits<float>::infinity();
    for (std::size_t k = 0; k < few.columns_of(item).size(); ++k) {
      least = std::min(least, few.values_of(item)[k]);
      left(0, few.columns_of(item)[k]) = 0;
    }
    CHECK(left.maxCoeff() <= least);
  }
  for (const int threads : {2, 7}) {
    const SparseRows other = baselines::item_neighbors(met, 4, kind, shrink, Threads(threads));
    CHECK(other.columns() == few.columns());
    CHECK(other.values() == few.values());
  }
}

TEST_CASE("item_neighbors: equal ones, the smaller row is in; a pair that comes twice adds up") {
  const SparseRows met("met", {0, 4}, {0, 1, 2, 3}, {1, 1, 1, 1}, 4);
  CHECK(baselines::item_neighbors(met, 2, Likeness::kCosine, 0, Threads(1)).columns() ==
        std::vector<Row>{1, 2, 0, 2, 0, 1, 0, 1});
  const SparseRows twice("met", {0, 3}, {0, 0, 1}, {1, 2, 1}, 2);
  CHECK(baselines::item_neighbors(twice, 2, Likeness::kCosine, 1, Threads(1)).values() == std::vector<float>{0.75F, 0.75F});
}

TEST_CASE("item_neighbors: refuses what does not fit") {
  const SparseRows met("met", {0, 1}, {0}, {-1}, 1);
  CHECK_THROWS_WITH(baselines::item_neighbors(met, 0, Likeness::kCosine, 0, Threads(1)),
                    "item_neighbors: neighbors is 0, but must be at least 1");
  CHECK_THROWS_WITH(baselines::item_neighbors(met, 1, Likeness::kCosine, 0, Threads(1)),
                    "item_neighbors: weights[0] is -1, but must not be negative");
}
