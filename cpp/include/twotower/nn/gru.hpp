#pragma once
#include "twotower/nn/sequences.hpp"

namespace twotower::nn {

/// A gated recurrent unit over the elements, oldest first; a reader of length m gets the state after m of them. With rows
/// multiplied from the left, s the sigmoid and h_0 = 0:
///
///     r = s(x W_r + h U_r + b_r)        z = s(x W_z + h U_z + b_z)        n = tanh(x W_n + (r * h) U_n + b_n)
///     h' = z * h + (1 - z) * n,  where x = weight times element;  an element of weight 0 leaves h as it is
///     y = h  after m elements, empty  if m = 0
///
/// The reset gate acts on h before the product with U_n, as in the paper, not on the product as in cuDNN and torch.nn.GRU.
///
/// Shapes      see sequences.hpp    parameters [W_r W_z W_n side by side (width, 3 width), U_r U_z U_n likewise,
///             b_r b_z b_n (3 width), empty (width)]
/// Start       W and U uniform in +-sqrt(3 / width), each width x width part as in Dense; b 0; empty normal with deviation .01
/// Source      Cho et al. 2014, arXiv:1406.1078, section 2.3, equations 5 to 8; for sessions Hidasi et al. 2016, arXiv:1511.06939
/// Cost        6 width^2 multiply-adds a position that has a reader at or behind it, twice that more with backward; about 11
/// width
///             values of cache a position. Sequences advance together, so many in a call cost less each than one alone.
struct Gru {
  static constexpr std::string_view kName = "Gru";
  Index width = 0;

  Index parameter_count() const { return 6 * width * width + 4 * width; }
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
               std::vector<Scalar>& cache, const Pass& pass) const;

  /// Writes dpositions; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, ConstRows<Scalar> dy,
                Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
