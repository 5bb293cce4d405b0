package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/serde"
	"thalweg/state"
)

// inventory compares what the application has listed in its progress topic with the topics and stores as they are,
// before anything of them is read or written, and lists what is new.
type inventory struct {
	client   *kclient.Client
	cfg      Config
	lay      *layout
	noted    *progressTopic
	home     *home
	identity kclient.Identity
	topics   map[string]origin.Topic
	changes  map[progress.Key]*progress.Value
	claims   []string // pending, until it is known that nobody else has the topics

	policies map[string]string // of the inputs that fill stores

	offsets  map[kclient.TopicPartition]int64 // committed by the group; nil: not asked for yet
	warnings []string                         // for the log, where the application goes on
	stored   []state.Stored                   // on this machine's disk, where the progress topic does not say all
}

// takeInventory ends with an error, and nothing changed, where the application can't go on as it is.
func takeInventory(
	ctx context.Context, c *kclient.Client, lay *layout, noted *progressTopic, h *home, cfg Config,
) (*inventory, error) {
	v := &inventory{
		client: c, cfg: cfg, lay: lay, noted: noted, home: h,
		topics: map[string]origin.Topic{}, changes: map[progress.Key]*progress.Value{},
	}
	if err := v.identify(ctx); err != nil {
		return nil, err
	}
	if err := v.readStored(); err != nil {
		return nil, err
	}
	owners, err := v.owners(ctx)
	if err != nil {
		return nil, v.retract(ctx, err)
	}
	err = errors.Join(v.compareTopics(ctx, owners), v.compareStores(ctx), v.compareRepartitions(ctx),
		v.compareInputs(ctx))
	if err != nil {
		return nil, v.retract(ctx, err)
	}
	noted.absent = v.absent()
	for _, text := range v.warnings {
		v.cfg.Logger.Warn(text, "application", v.cfg.ApplicationID)
	}
	return v, nil
}

// identify asks for the ids of all topics that are looked at.
func (v *inventory) identify(ctx context.Context) (err error) {
	names := v.lay.topics()
	for _, spec := range v.lay.internal {
		names = append(names, spec.Name)
	}
	for _, k := range v.noted.all(progress.InternalTopic) {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	v.identity, err = v.client.Topics().Identify(ctx, slices.Compact(names)...)
	return err
}

// says keeps a verdict for the log, or returns its error.
func (v *inventory) says(verdict origin.Verdict) error {
	if verdict.Action == origin.Log {
		v.warnings = append(v.warnings, verdict.Text)
	}
	return verdict.Err()
}

// listed is what is listed of an internal topic. A claim that was never looked at again is none.
func (v *inventory) listed(topic string) (progress.Value, bool) {
	value, ok := v.noted.get(internalTopic(topic))
	return value, ok && !value.Pending
}

// owners looks for other applications that have the topics which this one has not listed. Of two applications that
// look at the same time both see the other: each claims the topics first.
func (v *inventory) owners(ctx context.Context) (map[string]string, error) {
	var names []string
	for _, spec := range v.lay.internal {
		names = append(names, spec.Name)
	}
	possible := claimantsOf(v.cfg.ApplicationID, names, func(topic string) bool {
		_, listed := v.listed(topic)
		return listed
	})
	claims := map[progress.Key]*progress.Value{}
	for _, topics := range possible {
		for _, topic := range topics {
			claims[internalTopic(topic)] = &progress.Value{
				TopicID: v.identity.Topics[topic], Cluster: v.identity.Cluster, Pending: true,
			}
		}
	}
	if err := v.noted.write(ctx, claims); err != nil {
		return nil, err
	}
	for k := range claims {
		v.claims = append(v.claims, k.Name)
	}
	return possible.owners(ctx, v.client, v.cfg, v.identity)
}

// retract takes claims back that came to nothing.
func (v *inventory) retract(ctx context.Context, cause error) error {
	changes := map[progress.Key]*progress.Value{}
	for _, name := range v.claims {
		changes[internalTopic(name)] = nil
	}
	if err := v.noted.write(ctx, changes); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

func (v *inventory) compareTopics(ctx context.Context, owners map[string]string) error {
	var errs []error
	for _, spec := range v.lay.internal {
		t := origin.Topic{
			Place: v.home.place(v.cfg), Name: spec.Name, Store: v.lay.storeOf(spec.Name), Cluster: v.identity.Cluster,
			Owner: owners[spec.Name], Unnoted: v.noted.fresh,
		}
		t.ID, t.Exists = v.identity.Topics[spec.Name]
		was, listed := v.listed(spec.Name)
		if !listed {
			was, listed = v.copied(t.Store, func(o state.Origin) bool {
				return o.Topic == t.Name && t.Exists && o.TopicID == t.ID && o.Cluster == t.Cluster
			})
			listed = listed && was.Topic == t.Name
		}
		t.Listed, t.ListedID, t.ListedCluster = listed, was.TopicID, was.Cluster
		if t.Fresh() || t.Unnoted {
			var err error
			if t.Begun, err = v.begun(ctx); err != nil {
				return err
			}
		}
		v.topics[spec.Name] = t
		errs = append(errs, v.says(origin.CompareTopic(t)))
	}
	return errors.Join(errs...)
}

// readStored reads what local copies say where the progress topic says nothing, because it was deleted: an application
// that goes on with another topic, or with another store under a name, would not know.
func (v *inventory) readStored() (err error) {
	unlisted := slices.ContainsFunc(v.lay.fillings, func(f filling) bool {
		_, store := v.noted.get(storeKey(f.name))
		_, topic := v.listed(f.topic)
		return !store || f.from == state.FromChangelog && !topic
	})
	if !unlisted || v.home.engine == nil {
		return nil
	}
	if v.stored, err = state.ReadStored(v.home.engine); err != nil {
		return fmt.Errorf("state directory %s: %w", v.home.dir, err)
	}
	return nil
}

// copied is what the local copies of a store say where the progress topic says nothing: one that fits the topic as it
// is, or else any.
func (v *inventory) copied(store string, fits func(state.Origin) bool) (value progress.Value, found bool) {
	for _, s := range v.stored {
		if s.Store != store || s.Partition < 0 || !s.Named || s.Origin.Application != v.cfg.ApplicationID ||
			!s.Rows && s.Offset <= 0 {
			continue
		}
		value, found = progress.Value{
			StoreKind: s.Origin.Kind, Formats: s.Origin.Formats, Filling: s.Origin.Filling, Topic: s.Origin.Topic,
			TopicID: s.Origin.TopicID, Cluster: s.Origin.Cluster,
		}, true
		if fits(s.Origin) {
			break
		}
	}
	return value, found
}

// committed are the group's offsets, which are asked for once.
func (v *inventory) committed(ctx context.Context) (map[kclient.TopicPartition]int64, error) {
	if v.offsets == nil {
		offsets, err := v.client.GroupOffsets(ctx, v.cfg.ApplicationID)
		if err != nil {
			return nil, err
		}
		v.offsets = offsets
	}
	return v.offsets, nil
}

// begun tells whether the application has committed offsets: it has processed what will not come again.
func (v *inventory) begun(ctx context.Context) (bool, error) {
	committed, err := v.committed(ctx)
	if err != nil {
		return false, err
	}
	for _, at := range committed {
		if at > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (v *inventory) compareStores(ctx context.Context) error {
	var errs []error
	for _, f := range v.lay.fillings {
		was, listed := v.noted.get(storeKey(f.name))
		if !listed {
			was, listed = v.copied(f.name, func(o state.Origin) bool {
				return o.Kind == f.spec.Kind && o.Filling == f.from && o.Topic == f.topic
			})
		}
		v.changes[storeKey(f.name)] = &progress.Value{
			StoreKind: f.spec.Kind, Formats: f.formats, Filling: f.from, Topic: f.topic, Cluster: v.identity.Cluster,
		}
		if !listed || was.StoreKind == f.spec.Kind && f.formats.Reading(was.Formats) == serde.Readable &&
			was.Filling == f.from && was.Topic == f.topic {
			continue
		}
		s := origin.Store{
			Place: v.home.place(v.cfg), Name: f.name, Kind: f.spec.Kind, Filling: f.from, Topic: f.topic,
			Formats: f.formats, Listed: true, ListedKind: was.StoreKind, ListedFormats: was.Formats,
			ListedFilling: was.Filling, ListedTopic: was.Topic,
		}
		_, s.Exists = v.identity.Topics[f.topic]
		s.Fresh = v.topics[f.topic].Fresh() || !origin.Same(was.Cluster, v.identity.Cluster)
		var err error
		if s.Begun, err = v.begun(ctx); err != nil {
			return err
		}
		if s.Rows, s.Cut, err = v.content(ctx, f.topic, v.lay.filled(f)); err != nil {
			return err
		}
		if s.ListedWhole, err = v.whole(ctx, was); err != nil {
			return err
		}
		errs = append(errs, v.says(origin.CompareStore(s)))
	}
	return errors.Join(errs...)
}

// whole tells that an input has filled a store and is read from its first record on where its offsets are reset.
func (v *inventory) whole(ctx context.Context, was progress.Value) (bool, error) {
	n := v.lay.counts[was.Topic]
	if was.Filling != state.FromInput || n == 0 {
		return false, nil
	}
	_, cut, err := v.content(ctx, was.Topic, n)
	return !cut, err
}

// content tells whether a topic that fills a store has, or had, records, and whether it was cut.
func (v *inventory) content(ctx context.Context, topic string, partitions int32) (rows, cut bool, err error) {
	if _, exists := v.identity.Topics[topic]; !exists {
		return false, false, nil
	}
	first, end, err := v.bounds(ctx, topic, partitions)
	for tp, at := range end {
		rows, cut = rows || at > 0, cut || first[tp] > 0
	}
	return rows, cut, err
}

func (v *inventory) bounds(ctx context.Context, topic string, partitions int32) (
	first, end map[kclient.TopicPartition]int64, err error,
) {
	tps := partitionsOf(topic, partitions)
	if first, err = v.client.ListOffsets(ctx, tps, kclient.Earliest, false); err != nil {
		return nil, nil, err
	}
	end, err = v.client.ListOffsets(ctx, tps, kclient.Latest, true)
	return first, end, err
}

// list writes down what the application has, when all of it exists.
func (v *inventory) list(ctx context.Context) error {
	if slices.ContainsFunc(v.lay.internal, func(spec kclient.TopicSpec) bool {
		_, known := v.identity.Topics[spec.Name]
		return !known
	}) {
		if err := v.identify(ctx); err != nil { // what was made has an id now
			return err
		}
	}
	for _, f := range v.lay.fillings {
		if err := v.listStarts(ctx, f); err != nil {
			return err
		}
		if err := v.listFilled(ctx, f); err != nil {
			return err
		}
	}
	for _, spec := range v.lay.internal {
		v.changes[internalTopic(spec.Name)] = &progress.Value{
			TopicID: v.identity.Topics[spec.Name], Cluster: v.identity.Cluster, Form: v.lay.forms[spec.Name],
		}
	}
	return v.noted.write(ctx, v.changes)
}

// originOf is what a position of a store counts in now.
func originOf(f filling, id kclient.Identity, application string) state.Origin {
	return state.Origin{
		Kind: f.spec.Kind, Format: state.FormatVersion, Formats: f.formats, Filling: f.from, Topic: f.topic,
		TopicID: id.Topics[f.topic], Cluster: id.Cluster, Application: application,
	}
}
