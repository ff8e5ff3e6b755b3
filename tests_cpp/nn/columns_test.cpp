#include "twotower/nn/columns.hpp"

#include "support/catch.hpp"

using twotower::ConstRowMap;
using twotower::Index;
using twotower::Matrix;
using twotower::RowMap;
using twotower::nn::slice;
using twotower::nn::whole_lines;

TEST_CASE("whole_lines: the next multiple of sixteen") {
  CHECK(whole_lines(0) == 0);
  CHECK(whole_lines(1) == 16);
  CHECK(whole_lines(15) == 16);
  CHECK(whole_lines(16) == 16);
  CHECK(whole_lines(17) == 32);
}

TEST_CASE("slice: columns of a block, in place, of a slice too") {
  Matrix<float> block = Matrix<float>::Zero(3, 40);
  RowMap<float> middle = slice<RowMap<float>>(block, 16, 20);
  RowMap<float> inner = slice<RowMap<float>>(middle, 4, 2);
  inner.setConstant(7);
  CHECK(inner.outerStride() == 40);
  CHECK(block.sum() == 3 * 2 * 7);
  CHECK((block.middleCols(20, 2).array() == 7).all());
  CHECK(slice<ConstRowMap<float>>(block, 19, 4).row(2) == (Matrix<float>(1, 4) << 0, 7, 7, 0).finished().row(0));
}

TEST_CASE("slice: of no columns, of no rows") {
  Matrix<double> wide(3, 0), flat(0, 20);
  CHECK(slice<RowMap<double>>(wide, 0, 0).rows() == 3);
  CHECK(slice<RowMap<double>>(flat, 4, 16).cols() == 16);
}
