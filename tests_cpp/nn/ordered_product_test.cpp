#include "twotower/nn/ordered_product.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using twotower::Index;
using twotower::Matrix;
using twotower::nn::in_panels;
using twotower::nn::ordered_product;
using twotower::nn::pack;
using twotower::nn::packed_size;
using twotower::test::random_matrix;

namespace {

template <class Scalar>
std::vector<Scalar> packed(const Matrix<Scalar>& b) {
  std::vector<Scalar> values(static_cast<std::size_t>(packed_size(b.rows(), b.cols())), std::numeric_limits<Scalar>::quiet_NaN());
  pack(b.data(), b.cols(), 1, b.rows(), b.cols(), values.data());
  return values;
}

template <class Scalar>
Matrix<Scalar> product(const Matrix<Scalar>& a, const Matrix<Scalar>& b) {
  Matrix<Scalar> c(a.rows(), b.cols());
  ordered_product<Scalar>(a.data(), a.cols(), 1, a.rows(), packed(b).data(), b.rows(), 0, b.rows(), b.cols(), c.data(), c.cols());
  return c;
}

}  // namespace

TEST_CASE("ordered_product: agrees with Eigen for sizes around its tiles and panels") {
  const Index rows = GENERATE(0, 1, 2, 5, 11, 12, 13, 29), depth = GENERATE(0, 1, 7, 64),
              columns = GENERATE(1, 31, 32, 33, 64, 71);
  const auto a = random_matrix<double>(rows, depth, 1), b = random_matrix<double>(depth, columns, 2);
  const Matrix<double> wanted = a * b;
  CHECK(twotower::test::distance(product<double>(a, b), wanted) < 1e-15 * static_cast<double>(4 + depth));
  CHECK(twotower::test::distance(product<float>(a.cast<float>(), b.cast<float>()), wanted) <
        twotower::test::float_tolerance(depth));
}

TEST_CASE("ordered_product: takes transposes on either side, a start, and only some of the depth") {
  const Index rows = 14, depth = 9, columns = GENERATE(5, 32, 40);
  const auto a = random_matrix<double>(rows, depth, 1), b = random_matrix<double>(depth, columns, 2);
  const Matrix<double> across_a = a.transpose(), across_b = b.transpose();
  std::vector<double> values(static_cast<std::size_t>(packed_size(depth, columns)));
  pack(across_b.data(), 1, depth, depth, columns, values.data());
  CHECK(values == packed<double>(b));

  Matrix<double> start = random_matrix<double>(1, in_panels(columns), 3), c(rows, columns);
  ordered_product<double>(across_a.data() + 2 * rows, 1, rows, rows, values.data(), depth, 2, 6, columns, c.data(), columns,
                          start.data());
  const Matrix<double> wanted = (a.middleCols(2, 6) * b.middleRows(2, 6)).rowwise() + start.row(0).head(columns);
  CHECK(twotower::test::distance(c, wanted) < 1e-14);
}

TEST_CASE(
    "ordered_product: in place gives the bits of the packed product; sums go on where they start, row by row or all along") {
  const Index rows = GENERATE(1, 13), depth = 9, columns = GENERATE(5, 16, 40, 64), wide = in_panels(columns);
  const auto a = random_matrix<float>(rows, depth, 1), b = random_matrix<float>(depth, wide, 2),
             starts = random_matrix<float>(rows, wide, 3);
  const Matrix<float> whole = product<float>(a, b.leftCols(columns));
  Matrix<float> c(rows, columns);
  twotower::nn::ordered_product_in_place<float>(a.data(), depth, 1, rows, b.data(), wide, depth, columns, c.data(), columns);
  CHECK(c == whole);

  Matrix<float> sums = Matrix<float>::Zero(rows, wide);
  for (const Index first : {0, 4})  // 4 terms of each sum, then the other 5
    twotower::nn::ordered_product_in_place<float>(a.data() + first, depth, 1, rows, b.data() + first * wide, wide,
                                                  first == 0 ? 4 : 5, columns, sums.data(), wide, {sums.data(), wide});
  CHECK(Matrix<float>(sums.leftCols(columns)) == whole);

  twotower::nn::ordered_product_in_place<float>(a.data(), depth, 1, rows, b.data(), wide, depth, columns, c.data(), columns,
                                                {starts.data(), wide, 0});
  CHECK(twotower::test::distance(c, Matrix<double>(whole.cast<double>().colwise() + starts.col(0).cast<double>())) < 1e-5);
}

TEST_CASE("ordered_product: touches nothing between the rows it writes") {
  const Index columns = GENERATE(3, 32, 45);
  const auto a = random_matrix<float>(13, 6, 1), b = random_matrix<float>(6, columns, 2);
  twotower::test::Framed<float> c(Matrix<float>::Zero(13, columns), 5);
  ordered_product<float>(a.data(), 6, 1, 13, packed<float>(b).data(), 6, 0, 6, columns, c.view().data(), c.whole.cols());
  CHECK(c.frame_is_whole());
  CHECK(Matrix<float>(c.view()) == product<float>(a, b));
}

TEST_CASE("ordered_product: a value's bits depend on its row and column alone, and zeros behind them change nothing") {
  const Index depth = GENERATE(1, 17, 64);
  const auto a = random_matrix<float>(29, depth, 1), b = random_matrix<float>(depth, 71, 2);
  const Matrix<float> whole = product<float>(a, b);
  for (const Index row : {0, 11, 12, 28})
    for (const Index column : {0, 31, 32, 70}) {
      CHECK(product<float>(a.row(row), b.col(column))(0, 0) == whole(row, column));
      CHECK(product<float>(a.topRows(row + 1), b.leftCols(column + 1))(row, column) == whole(row, column));
    }
  Matrix<float> longer = Matrix<float>::Zero(29, depth + 5), taller = random_matrix<float>(depth + 5, 71, 3);
  longer.leftCols(depth) = a;
  taller.topRows(depth) = b;
  CHECK(product<float>(longer, taller) == whole);
}
