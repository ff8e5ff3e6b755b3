#include "twotower/nn/sequential.hpp"

#include "support/catch.hpp"
#include "support/layer_kit.hpp"

using namespace twotower::nn;
using twotower::Index;
using twotower::Matrix;
using twotower::RandomStream;
using twotower::test::LayerRun;

namespace {

constexpr Pass kTraining{true, 5, 17, 100};

Sequential tower(Index in, Index hidden, Index out) {
  return Sequential(in, {Dense{in, hidden}, LayerNorm{hidden}, Gelu{hidden}, Dropout{hidden, 0.8, 1}, Dense{hidden, hidden},
                         Relu{hidden}, Dropout{hidden, 0.5, 2}, Dense{hidden, out}, L2Normalize{out}});
}

}  // namespace

TEST_CASE("Sequential: does what every layer must") {
  const Index rows = GENERATE(0, 1, 5, 33);
  const auto [in, hidden, out] = GENERATE(std::tuple<Index, Index, Index>{1, 2, 3}, std::tuple<Index, Index, Index>{3, 17, 5},
                                          std::tuple<Index, Index, Index>{17, 16, 8});
  twotower::test::check_layer(tower(in, hidden, out), rows, {}, 1000);
  twotower::test::check_layer(tower(in, hidden, out), rows, kTraining, 1000);
}

TEST_CASE("Sequential: of one, two and three layers") {
  const Index rows = GENERATE(0, 1, 5);
  twotower::test::check_layer(Sequential(3, {Dense{3, 17}}), rows);
  twotower::test::check_layer(Sequential(3, {Dense{3, 17}, Gelu{17}}), rows);
  twotower::test::check_layer(Sequential(3, {Dense{3, 17}, Gelu{17}, Dense{17, 2}}), rows, {}, 10);
}

TEST_CASE("Sequential: without layers the identity") {
  const Sequential empty(4);
  CHECK(empty.in_width() == 4);
  CHECK(empty.out_width() == 4);
  CHECK(empty.parameter_count() == 0);
  CHECK(empty.cache_width() == 0);
  twotower::test::check_layer(empty, 5);
  LayerRun<double> run(empty, 5);
  run.step(empty, {});
  CHECK(run.y == run.x);
  CHECK(run.dx == run.dy);
}

TEST_CASE("Sequential: gives the bytes of its layers applied one by one") {
  const Dense first{17, 64}, last{64, 3};
  const Gelu middle{64};
  const Sequential all(17, {first, middle, last});
  REQUIRE(all.parameter_count() == first.parameter_count() + last.parameter_count());
  LayerRun<float> run(all, 33);
  run.step(all, {});

  const float* w = run.parameters.data();
  const float* w_last = w + first.parameter_count();
  Matrix<float> a(33, 64), b(33, 64), y(33, 3), t(33, 64), none(33, 0), da(33, 64), db(33, 64), dx(33, 17);
  Matrix<float> dw = Matrix<float>::Zero(1, all.parameter_count());
  first.forward<float>(w, run.x, a, none, {});
  middle.forward<float>(nullptr, a, b, t, {});
  last.forward<float>(w_last, b, y, none, {});
  last.backward<float>(w_last, b, none, run.dy, db, dw.data() + first.parameter_count(), {});
  middle.backward<float>(nullptr, a, t, db, da, nullptr, {});
  first.backward<float>(w, run.x, none, da, dx, dw.data(), {});
  CHECK(twotower::test::same_bytes(run.y, y));
  CHECK(twotower::test::same_bytes(run.dx, dx));
  CHECK(twotower::test::same_bytes(run.dparameters, dw));
}

TEST_CASE("Sequential: initializes its layers one after the other") {
  const Sequential all(2, {Dense{2, 3}, LayerNorm{3}, Dense{3, 1}});
  REQUIRE(all.parameter_count() == 9 + 6 + 4);
  std::vector<double> parameters(19, 9), wanted(19, 8);
  RandomStream random(1, twotower::Purpose::kInitialize), again = random;
  all.initialize(parameters.data(), random);
  Dense{2, 3}.initialize(wanted.data(), again);
  LayerNorm{3}.initialize(wanted.data() + 9, again);
  Dense{3, 1}.initialize(wanted.data() + 15, again);
  CHECK(parameters == wanted);
}

TEST_CASE("Sequential: cache slices start at multiples of sixteen columns") {
  // Outputs of layers 0 and 1 (17 -> 32 each), two gradients (32 each), the caches of LayerNorm (2 -> 16) and L2Normalize (1 ->
  // 16).
  CHECK(Sequential(3, {Dense{3, 17}, LayerNorm{17}, L2Normalize{17}}).cache_width() == 32 + 32 + 32 + 32 + 16 + 16);
}

TEST_CASE("Sequential: copies are independent and work") {
  const Sequential original = tower(3, 17, 5);
  Sequential copy(1);
  copy = original;
  LayerRun<float> a(original, 5), b(copy, 5);
  a.step(original, kTraining);
  b.step(copy, kTraining);
  CHECK(twotower::test::same_bytes(a.y, b.y));
  CHECK(copy.layers().size() == 9);
  CHECK(name_of(copy.layers()[2]) == "Gelu");
}

TEST_CASE("Sequential: refuses layers that do not fit, by name") {
  CHECK_THROWS_WITH(Sequential(0), "Sequential: width is 0, but must be at least 1");
  CHECK_THROWS_WITH(Sequential(4, {Dense{3, 2}}),
                    "Sequential: in_width of layer 0 (Dense) is 3, but must equal width, which is 4");
  CHECK_THROWS_WITH(Sequential(3, {Dense{3, 64}, Relu{32}}),
                    "Sequential: in_width of layer 1 (Relu) is 32, but must equal out_width of layer 0 (Dense), which is 64");
  CHECK_THROWS_WITH(Sequential(3, {LayerNorm{3}, Dropout{3, 2}}), "Dropout: keep_probability is 2, but must be in [0, 1]");
  CHECK_THROWS_WITH(Sequential(3, {Dropout{3, 0.5, 7}, Relu{3}, Dropout{3, 0.5, 7}}),
                    "Sequential: stream of layer 2 (Dropout) is 7, but must differ from that of layer 0 (Dropout); number the "
                    "Dropouts of a model");
}

TEST_CASE("Sequential: its streams are unique however deep the Dropouts lie") {
  const Sequential one(3, {Relu{3}, Dropout{3, 0.5, 1}}), two(3, {Dropout{3, 0.5, 2}});
  const Residual nested(Sequential(3, {Residual(one)}));
  CHECK_NOTHROW(Sequential(3, {Dropout{3, 0.5, 0}, nested, Parallel(two, Sequential(3, {Dropout{3, 0.5, 3}}))}));
  CHECK_THROWS_WITH(Sequential(3, {Dropout{3, 0.5, 1}, nested}),
                    "Sequential: stream of layer 1 (Dropout) in layer 0 (Residual) in layer 1 (Residual) is 1, but must differ "
                    "from that of layer 0 (Dropout); number the Dropouts of a model");
  CHECK_THROWS_WITH(Sequential(3, {Parallel(two, one), Relu{6}, Dropout{6, 0.5, 2}}),
                    "Sequential: stream of layer 2 (Dropout) is 2, but must differ from that of layer 0 (Dropout) in left of "
                    "layer 0 (Parallel); number the Dropouts of a model");
  CHECK_THROWS_WITH(Sequential(3, {Parallel(one, one)}),
                    "Sequential: stream of layer 1 (Dropout) in right of layer 0 (Parallel) is 1, but must differ from that of "
                    "layer 1 (Dropout) in left of layer 0 (Parallel); number the Dropouts of a model");
  // The same object twice.
  CHECK_THROWS_WITH(Sequential(3, {nested, nested}),
                    "Sequential: stream of layer 1 (Dropout) in layer 0 (Residual) in layer 1 (Residual) is 1, but must differ "
                    "from that of layer 1 (Dropout) in layer 0 (Residual) in layer 0 (Residual); number the Dropouts of a model");
}

TEST_CASE("Sequential: of every kind of layer, nested") {
  const Sequential deep(17, {Dense{17, 16}, Gelu{16}, Dropout{16, 0.8, 1}, Dense{16, 17}});
  const Sequential all(17, {LayerNorm{17}, Residual(deep), Parallel(Sequential(17, {CrossNetwork{17, 2, 0}}), Sequential(17)),
                            Dropout{34, 0.8, 2}, Dense{34, 3}, L2Normalize{3}});
  CHECK(name_of(all.layers()[1]) == "Residual");
  CHECK(name_of(all.layers()[2]) == "Parallel");
  CHECK(name_of(deep.layers()[0]) == "Dense");
  const Index rows = GENERATE(0, 1, 5, 33);
  twotower::test::check_layer(all, rows, kTraining, 10000);
}
