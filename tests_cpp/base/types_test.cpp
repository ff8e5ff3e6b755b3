#include "twotower/base/types.hpp"

#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using twotower::ConstRowMap;
using twotower::ConstRows;
using twotower::Index;
using twotower::Matrix;
using twotower::RowMap;
using twotower::Rows;

namespace {

void fill(Rows<float> rows, float value) { rows.setConstant(value); }

const float* data_of(ConstRows<float> rows) { return rows.data(); }

Index stride_of(ConstRows<float> rows) { return rows.outerStride(); }

}  // namespace

TEST_CASE("types: matrices are row-major") {
  Matrix<float> matrix(2, 3);
  matrix << 1, 2, 3, 4, 5, 6;
  CHECK(std::vector<float>(matrix.data(), matrix.data() + 6) == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("types: Rows writes through to a block of columns and leaves the rest alone") {
  Matrix<float> whole = Matrix<float>::Zero(3, 5);
  fill(whole.middleCols(1, 2), 7);
  CHECK(whole.middleCols(1, 2) == Matrix<float>::Constant(3, 2, 7));
  CHECK(whole.leftCols(1).isZero());
  CHECK(whole.rightCols(2).isZero());
}

TEST_CASE("types: ConstRows views rows that lie apart without a copy") {
  const Matrix<float> whole = Matrix<float>::Random(4, 6);
  CHECK(data_of(whole) == whole.data());
  CHECK(data_of(whole.block(1, 2, 2, 3)) == whole.data() + 8);
  CHECK(stride_of(whole.block(1, 2, 2, 3)) == 6);
}

TEST_CASE("types: maps view plain memory with a stride") {
  std::vector<float> values{1, 2, 0, 3, 4, 0};
  const ConstRowMap<float> read(values.data(), 2, 2, Eigen::OuterStride<>(3));
  CHECK(read == (Matrix<float>(2, 2) << 1, 2, 3, 4).finished());
  RowMap<float> write(values.data(), 2, 2, Eigen::OuterStride<>(3));
  write.row(1).setConstant(9);
  CHECK(values == std::vector<float>{1, 2, 0, 9, 9, 0});
  CHECK(data_of(write) == values.data());
}

TEST_CASE("types: rows are 32 bits, as at the boundary") { CHECK(std::is_same_v<twotower::Row, std::int32_t>); }
