/* The module's definition, for PyType_GetModuleByDef. */
#ifndef LM_MODULE_H
#define LM_MODULE_H

#include "base/lm.h"

extern struct PyModuleDef lm_module;

#endif
