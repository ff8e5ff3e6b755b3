// An index: one bind_ function a part of the core, each in its own file.
#include <pybind11/pybind11.h>

#include "bindings.hpp"

PYBIND11_MODULE(TWOTOWER_MODULE, m) {
  m.doc() = "The C++ core of twotower";
  twotower::bindings::bind_base(m);
  twotower::bindings::bind_data(m);
  twotower::bindings::bind_text(m);
  twotower::bindings::bind_model(m);
  twotower::bindings::bind_train(m);
  twotower::bindings::bind_retrieval(m);
  twotower::bindings::bind_ranking(m);
  twotower::bindings::bind_baselines(m);
  twotower::bindings::bind_evaluation(m);
}
