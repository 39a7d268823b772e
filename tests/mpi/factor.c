#include "../reference.h"
const check_case check_cases[] = {{0}};
