#pragma once
// One register of the widest kind this module is compiled for, as the compiler's own vector type: + - * / < work lane by lane.
namespace twotower {

#if defined(__AVX512F__)
inline constexpr int kRegisterBytes = 64, kRegisterCount = 32;
#elif defined(__AVX__)
inline constexpr int kRegisterBytes = 32, kRegisterCount = 16;
#else
inline constexpr int kRegisterBytes = 16, kRegisterCount = 16;
#endif

/// Values of a register.
template <class Scalar>
inline constexpr int kRegisterLanes = kRegisterBytes / static_cast<int>(sizeof(Scalar));

template <class Scalar>
struct RegisterOf {
  typedef Scalar Type __attribute__((vector_size(kRegisterBytes), aligned(sizeof(Scalar)), may_alias));
};

/// May be read and written wherever a Scalar may be; aligned to its size it is faster.
template <class Scalar>
using Register = typename RegisterOf<Scalar>::Type;

template <class Scalar>
Register<Scalar>& lanes_at(Scalar* values) {
  return *reinterpret_cast<Register<Scalar>*>(values);
}

template <class Scalar>
const Register<Scalar>& lanes_at(const Scalar* values) {
  return *reinterpret_cast<const Register<Scalar>*>(values);
}

}  // namespace twotower
