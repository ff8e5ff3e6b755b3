#pragma once
// Every binding: convert and check (with the GIL) -> allocate results -> release the GIL around one core call -> return.
#include <pybind11/pybind11.h>

namespace twotower::bindings {

void bind_base(pybind11::module_& m);
void bind_data(pybind11::module_& m);
void bind_text(pybind11::module_& m);
void bind_model(pybind11::module_& m);
void bind_train(pybind11::module_& m);
void bind_ranking(pybind11::module_& m);
void bind_baselines(pybind11::module_& m);
void bind_retrieval(pybind11::module_& m);
void bind_evaluation(pybind11::module_& m);

}  // namespace twotower::bindings
