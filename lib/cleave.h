/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave.h: the whole library, floor by floor; each stands on those before it.
 */
#ifndef CLEAVE_H
#define CLEAVE_H

#include <cleave_dist.h>      /* grid, layout, matrix; move and multiply          */
#include <cleave_io.h>        /* checkpoints, data sets                           */
#include <cleave_layers.h>    /* parameters, layers, models, optimizers, training */
#include <cleave_lib.h>       /* status, data types                               */
#include <cleave_scalapack.h> /* block-cyclic matrices, factorisations            */

#endif
