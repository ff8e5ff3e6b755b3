#pragma once
#include "twotower/nn/sequences.hpp"

namespace twotower::nn {

/// A transformer that looks back only. Row j starts as element j plus the learned vector of position j, counted from the start of
/// the sequence; then come `blocks` blocks
///
///   x += dropout(W_o attention(LayerNorm(x)))          each of `heads` heads on width / heads values; row j sees rows 0 to j
///   x += dropout(W_2 gelu(W_1 LayerNorm(x)))           feed_forward values between the two
///
/// and a last LayerNorm. A reader of length m gets row m - 1, one of length 0 the learned vector `empty`. Weights of the elements
/// are not used: a softmax makes its own.
///
/// Parameters  [positions (max_length, width), empty (width), blocks: LayerNorm, query, key and value, output, LayerNorm, up,
/// down,
///             last LayerNorm]; query, output (width, width), key and value (width, 2 width), up (width, feed_forward), down
///             (feed_forward, width) with bias each, as Dense
/// Start       vectors and weights normal with deviation 0.02, biases 0, gains 1
/// Dropout     in training, also on element plus position. A mask depends on (seed, step, stream, position in the batch) alone;
///             streams [stream, stream + 2 blocks] belong to this encoder, in the numbers of Dropout. The probability is rounded
///             to 1 / 65536, and what is kept is scaled by the inverse of the rounded one.
/// Throws      invalid_argument from forward for a sequence longer than max_length
/// Cost        a position and block: 2 (4 width^2 + 2 width feed_forward) flops in products, 2 width length in attention, three
///             times as much with backward; the cache keeps 6 width + 2 feed_forward values. In the last block only what is read
///             is computed. Width 64, windows of 50, 16 at a time, forward and backward: 69 GFLOP/s where a product of 1536^3
///             reaches 100 (GCC 12, one AVX-512 core, Zen 4)
/// Source      Vaswani et al. 2017, arXiv:1706.03762; for recommendation Kang, McAuley 2018, arXiv:1808.09781 (SASRec). LayerNorm
///             before each part rather than behind it: Xiong et al. 2020, arXiv:2002.04745
struct CausalTransformer {
  static constexpr std::string_view kName = "CausalTransformer";
  Index width = 0;
  Index heads = 1;
  Index blocks = 1;
  Index max_length = 0;
  double keep_probability = 1;  ///< in (0, 1]
  std::uint64_t stream = 0;
  Index feed_forward = 0;  ///< 0: width, as in SASRec

  Index parameter_count() const;
  void check() const;

  template <class Scalar>
  void initialize(Scalar* parameters, RandomStream& random) const;

  /// Writes y and cache.
  template <class Scalar>
  void forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
               std::vector<Scalar>& cache, const Pass& pass) const;

  /// Writes dpositions; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, ConstRows<Scalar> dy,
                Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const Pass& pass) const;
};

}  // namespace twotower::nn
