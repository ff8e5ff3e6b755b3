#include "twotower/nn/row_gradients.hpp"

#include <cstring>
#include <map>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using twotower::ConstRowMap;
using twotower::Index;
using twotower::Matrix;
using twotower::RandomStream;
using twotower::Row;
using twotower::RowMap;
using twotower::RowVector;
using twotower::Threads;
using twotower::nn::RowGradients;
using twotower::nn::RowTouch;
using twotower::test::random_matrix;

namespace {

std::vector<RowTouch> random_touches(std::size_t count, Index table_rows, Index positions, std::uint64_t number) {
  RandomStream random(number, twotower::Purpose::kTest);
  std::vector<RowTouch> touches;
  for (std::size_t i = 0; i < count; ++i)
    touches.push_back({static_cast<Row>(random.below(table_rows)), static_cast<Row>(random.below(positions)),
                       static_cast<float>(random.uniform() - 0.5)});
  return touches;
}

template <class Scalar>
ConstRowMap<Scalar> view(const Matrix<Scalar>& matrix) {
  return {matrix.data(), matrix.rows(), matrix.cols(), Eigen::OuterStride<>(matrix.cols())};
}

/// The definition: a map from row to sum, touches in order.
std::map<Row, RowVector<double>> naive_sums(std::span<const RowGradients<double>::Source> sources) {
  std::map<Row, RowVector<double>> sums;
  for (const auto& source : sources)
    for (const RowTouch& touch : source.touches) {
      RowVector<double>& sum = sums.try_emplace(touch.row, RowVector<double>::Zero(source.gradients.cols())).first->second;
      sum += source.gradients.row(touch.position) * double{touch.scale};
    }
  return sums;
}

}  // namespace

TEST_CASE("RowGradients: two sources done on paper") {
  // Source 0 gives row 4: 1 * (1, 2), row 0: 2 * (3, 4), row 4: -1 * (3, 4). Source 1 gives row 4: .5 * (10, 20), row 7: (30,
  // 40). Row 0: (6, 8). Row 4: (1, 2) - (3, 4) + (5, 10) = (3, 8). Row 7: (30, 40).
  const Matrix<double> first = (Matrix<double>(2, 2) << 1, 2, 3, 4).finished();
  const Matrix<double> second = (Matrix<double>(2, 2) << 10, 20, 30, 40).finished();
  const std::vector<RowTouch> touches0{{4, 0, 1}, {0, 1, 2}, {4, 1, -1}}, touches1{{4, 0, 0.5F}, {7, 1, 1}};
  const std::vector<RowGradients<double>::Source> sources{{touches0, view(first)}, {touches1, view(second)}};
  RowGradients<double> gradients;
  gradients.sort(sources, 8);
  CHECK(gradients.width() == 2);
  CHECK(std::vector<Row>(gradients.rows().begin(), gradients.rows().end()) == std::vector<Row>{0, 4, 7});
  Matrix<double> sums(3, 2);
  gradients.sum_all(Threads(1), sums);
  CHECK(sums == (Matrix<double>(3, 2) << 6, 8, 3, 8, 30, 40).finished());
}

TEST_CASE("RowGradients: agrees with a map, for any table, count and width") {
  // Tables around the borders of the radix sort's digits: 2^11 and 2^22.
  const Index table_rows = GENERATE(1, 2, 64, 2047, 2048, 2049, 100'003, 4'194'305);
  const std::size_t count = GENERATE(0, 1, 2, 97, 1000);
  const Index width = GENERATE(1, 3, 17, 64);
  const Matrix<double> a = random_matrix<double>(33, width, 1), b = random_matrix<double>(5, width, 2);
  const auto touches_a = random_touches(count, table_rows, 33, 3), touches_b = random_touches(count / 2, table_rows, 5, 4);
  const std::vector<RowGradients<double>::Source> sources{{touches_a, view(a)}, {touches_b, view(b)}, {{}, view(a)}};
  RowGradients<double> gradients;
  const auto before = random_touches(50, 9, 5, 5);
  const std::vector<RowGradients<double>::Source> forgotten{{before, view(b)}};
  gradients.sort(forgotten, 9);
  gradients.sort(sources, table_rows);
  const auto wanted = naive_sums(sources);
  REQUIRE(gradients.rows().size() == wanted.size());
  RowVector<double> buffer(width);
  Index k = 0;
  for (const auto& [row, vector] : wanted) {
    CHECK(gradients.rows()[static_cast<std::size_t>(k)] == row);
    gradients.prefetch(k + 3);
    const Eigen::Map<const RowVector<double>> sum(gradients.of(k++, buffer.data()), width);
    CHECK((sum - vector).cwiseAbs().maxCoeff() < 1e-15 * static_cast<double>(4 + count));
  }
}

TEST_CASE("RowGradients: a row that was touched once is not copied") {
  const Matrix<float> values = random_matrix<float>(3, 5, 1);
  const std::vector<RowTouch> touches{{2, 1, 1}, {4, 0, 0.5F}, {7, 2, 1}, {7, 2, 1}};
  const std::vector<RowGradients<float>::Source> sources{{touches, view(values)}};
  RowGradients<float> gradients;
  gradients.sort(sources, 9);
  RowVector<float> buffer(5);
  CHECK(gradients.of(0, buffer.data()) == values.row(1).data());
  CHECK(gradients.of(1, buffer.data()) == buffer.data());
  CHECK(buffer == values.row(0) * 0.5F);
  CHECK(gradients.of(2, buffer.data()) == buffer.data());
  CHECK(buffer == values.row(2) * 2);
}

TEST_CASE("RowGradients: sums in the order of sources and touches") {
  // In float 1e8 + 1 - 1e8 = 0 but 1e8 - 1e8 + 1 = 1: the order shows.
  const Matrix<float> values = (Matrix<float>(3, 1) << 1e8F, 1, -1e8F).finished();
  const auto sum_of = [&](std::vector<RowTouch> first, std::vector<RowTouch> second) {
    const std::vector<RowGradients<float>::Source> sources{{first, view(values)}, {second, view(values)}};
    RowGradients<float> gradients;
    gradients.sort(sources, 5000);
    float buffer = 0;
    return *gradients.of(0, &buffer);
  };
  CHECK(sum_of({{4500, 0, 1}, {4500, 1, 1}}, {{4500, 2, 1}}) == 0);
  CHECK(sum_of({{4500, 0, 1}, {4500, 2, 1}}, {{4500, 1, 1}}) == 1);
  CHECK(sum_of({{4500, 1, 1}}, {{4500, 0, 1}, {4500, 2, 1}}) == 0);
}

TEST_CASE("RowGradients: same bytes for 1, 2 and 7 threads, and for gradients that lie apart") {
  const Index width = 17, table_rows = 700;
  const Matrix<float> gradient = random_matrix<float>(256, width, 1);
  Matrix<float> wide = Matrix<float>::Constant(256, width + 20, 1e30F);
  wide.middleCols(9, width) = gradient;
  const ConstRowMap<float> apart(wide.data() + 9, 256, width, Eigen::OuterStride<>(width + 20));
  const auto touches = random_touches(5000, table_rows, 256, 2);
  Matrix<float> wanted;
  for (const int threads : {1, 2, 7})
    for (const ConstRowMap<float>& source : {view(gradient), apart}) {
      RowGradients<float> gradients;
      const std::vector<RowGradients<float>::Source> sources{{touches, source}};
      gradients.sort(sources, table_rows);
      REQUIRE(gradients.rows().size() > 10 * RowGradients<float>::kBlock);
      Matrix<float> sums(static_cast<Index>(gradients.rows().size()), width);
      gradients.sum_all(Threads(threads), sums);
      if (wanted.size() == 0) wanted = sums;
      CHECK(std::memcmp(sums.data(), wanted.data(), sizeof(float) * static_cast<std::size_t>(sums.size())) == 0);
    }
}

TEST_CASE("RowGradients: no sources, no rows") {
  RowGradients<float> gradients;
  CHECK(gradients.rows().empty());
  gradients.sort({}, 5);
  CHECK(gradients.rows().empty());
  Matrix<float> none(0, 0);
  CHECK_NOTHROW(gradients.sum_all(Threads(2), none));
}

TEST_CASE("RowGradients: nothing is allocated once the largest batch has been seen") {
  if (!twotower::test::kCountsAllocations) return;
  const Matrix<float> gradient = random_matrix<float>(256, 17, 1);
  const auto large = random_touches(3000, 5000, 256, 2), small = random_touches(1000, 5000, 256, 3);
  const RowGradients<float>::Source sources[] = {{large, view(gradient)}}, smaller[] = {{small, view(gradient)}};
  RowGradients<float> gradients;
  gradients.sort(sources, 5000);
  Matrix<float> sums(static_cast<Index>(gradients.rows().size()), 17);
  const Threads threads(1);
  CHECK(twotower::test::allocations_of([&] {
          gradients.sort(smaller, 5000);
          gradients.sort(sources, 5000);
          gradients.sum_all(threads, sums);
        }) == 0);
}

TEST_CASE("RowGradients: refuses what does not fit") {
  const Matrix<float> gradient = Matrix<float>::Ones(3, 2), narrow = Matrix<float>::Ones(3, 1);
  const std::vector<RowTouch> good{{1, 0, 1}}, row{{1, 0, 1}, {5, 0, 1}}, negative{{-1, 0, 1}}, position{{1, 3, 1}};
  using Sources = std::vector<RowGradients<float>::Source>;
  RowGradients<float> gradients;
  CHECK_THROWS_WITH(gradients.sort(Sources{{row, view(gradient)}}, 5),
                    "RowGradients: sources[0].touches[1].row is 5, but must be in [0, 5)");
  CHECK_THROWS_WITH(gradients.sort(Sources{{good, view(gradient)}, {negative, view(gradient)}}, 5),
                    "RowGradients: sources[1].touches[0].row is -1, but must be in [0, 5)");
  CHECK_THROWS_WITH(gradients.sort(Sources{{position, view(gradient)}}, 5),
                    "RowGradients: sources[0].touches[0].position is 3, but must be in [0, 3)");
  CHECK_THROWS_WITH(gradients.sort(Sources{{good, view(gradient)}, {good, view(narrow)}}, 5),
                    "RowGradients: width of sources[1] is 1, but must equal width of sources[0], which is 2");
  gradients.sort(Sources{{good, view(gradient)}}, 5);
  Matrix<float> wrong(2, 2);
  CHECK_THROWS_WITH(gradients.sum_all(Threads(1), wrong),
                    "RowGradients: rows of out is 2, but must equal number of distinct rows, which is 1");
}
